import { expect, test } from 'vitest';
import type { StoredSnapshot } from '../snapshot/resources.ts';
import { planImage } from './plan.ts';
import { ImageCluster } from './testing.ts';

function aSnapshot(phase: 'Ready' | 'Failed' | 'Pending', ...disks: string[]): StoredSnapshot {
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { name: 's', namespace: 'default', uid: 'snapshot-uid', resourceVersion: '1' },
    spec: { virtualMachine: 'web' },
    status: { phase, disks: disks.map((name) => ({ name, size: '1Mi' })) },
  };
}

function plan(snapshot: StoredSnapshot | undefined, source: object = { name: 's' }, withClaim = true) {
  const cluster = new ImageCluster();
  cluster.addImage({ snapshot: source });
  cluster.addClaim('web-data');
  cluster.reconcile();
  cluster.snapshot();
  const sourceClaim = withClaim ? cluster.stored.claims.get('web-data') : undefined;
  const { actions, decision } = planImage({ ...cluster.world(), snapshot, sourceClaim });
  return { actions, reason: decision?.wait?.reason };
}

test('a snapshot that is ready is read from its layers, without the lease of the VM that has them', () => {
  const { actions } = plan(aSnapshot('Ready', 'data'));
  // Its own claim, and nothing of web's.
  expect(actions.map(({ type }) => type)).toEqual(['TakeLease', 'CreatePod']);
  const [, made] = actions;
  const pod = made?.type === 'CreatePod' ? made.pod : undefined;
  expect(JSON.parse(pod?.metadata.annotations?.['vmstead.io/job'] ?? '')).toMatchObject({
    source: { type: 'snapshot', directory: '/source', snapshot: 'snapshot-uid' },
  });
  const source = pod?.spec?.volumes?.find(({ name }) => name === 'source');
  expect(source?.persistentVolumeClaim?.claimName).toBe('web-data');
  expect(pod?.spec?.containers[0]?.volumeMounts?.find(({ name }) => name === 'source')?.readOnly).toBe(true);
});

test('what is not there yet is waited for by name', () => {
  expect(plan(undefined).reason).toBe('SnapshotNotFound');
  expect(plan(aSnapshot('Pending')).reason).toBe('SnapshotNotReady');
  expect(plan(aSnapshot('Failed')).reason).toBe('SnapshotFailed');
  expect(plan(aSnapshot('Ready', 'data', 'logs')).reason).toBe('DiskNotInSnapshot');
  expect(plan(aSnapshot('Ready', 'data', 'logs'), { name: 's', disk: 'data' }).reason).toBeUndefined();
  expect(plan(aSnapshot('Ready', 'data'), { name: 's', disk: 'x' }).reason).toBe('DiskNotInSnapshot');
  expect(plan(aSnapshot('Ready', 'data'), { name: 's' }, false).reason).toBe('SourceClaimNotFound');
});
