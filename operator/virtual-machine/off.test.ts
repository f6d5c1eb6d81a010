import { describe, expect, test } from 'vitest';
import { LABEL } from '../../crds/api.ts';
import type { Pod } from '../kube/resources.ts';
import type { StoredSnapshot } from '../snapshot/resources.ts';
import { planVirtualMachine } from './plan.ts';
import { aPod, aVm, aWorld, container, ended, NOW } from './testing.ts';
import type { World } from './world.ts';

const disks = [{ name: 'data', source: { blank: {} }, claim: { size: '1Gi' } }];
const claim = {
  metadata: {
    name: 'web-data',
    namespace: 'default',
    uid: 'claim-uid',
    resourceVersion: '1',
    labels: { [LABEL.managedBy]: 'vmstead', [LABEL.vm]: 'web', [LABEL.disk]: 'data' },
  },
  spec: { resources: { requests: { storage: '1Gi' } } },
  status: { phase: 'Bound' },
};

function aSnapshot(phase?: 'Pending' | 'Ready' | 'Failed', verified = false): StoredSnapshot {
  const state = verified ? ('True' as const) : ('False' as const);
  const at = '2026-01-01T11:00:00Z';
  const condition = { type: 'Verified', status: state, reason: 'x', message: 'x', lastTransitionTime: at };
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { name: 's', namespace: 'default', uid: 's-uid', resourceVersion: '1' },
    spec: { virtualMachine: 'web' },
    ...(phase ? { status: { phase, conditions: [condition] } } : {}),
  };
}

const taskPod = (incarnation: number, change: Partial<Pod> = {}): Pod => {
  const pod = aPod(incarnation, change);
  return {
    ...pod,
    metadata: { ...pod.metadata, labels: { ...pod.metadata.labels, [LABEL.task]: 'layers' } },
  };
};
const runningPod = { phase: 'Running', containerStatuses: [container({ running: {} })] };

function plan(change: Partial<World>, runStrategy = 'Halted') {
  const world = aWorld({
    vm: aVm({ disks, runStrategy }),
    claims: new Map([['web-data', claim]]),
    snapshots: [aSnapshot()],
    ...change,
  });
  const { actions, afterStatus, decision } = planVirtualMachine(world);
  return {
    types: actions.map(({ type }) => type),
    actions,
    after: afterStatus.map(({ type }) => type),
    decision,
  };
}

describe('a VM that is off with a snapshot to take', () => {
  test('gets a pod with its claims and their leases, which is no life of it', () => {
    const { types, actions, decision } = plan({});
    expect(types).toEqual(['TakeLease', 'CreatePod']);
    const made = actions.find(({ type }) => type === 'CreatePod');
    const pod = made?.type === 'CreatePod' ? made.pod : undefined;
    expect(pod?.metadata).toMatchObject({ name: 'vm-web-1', labels: { [LABEL.task]: 'layers' } });
    expect(pod?.metadata.labels).not.toHaveProperty('app');
    const [launcher] = pod?.spec?.containers ?? [];
    expect(launcher?.volumeMounts?.map(({ name }) => name)).toEqual([
      'config',
      'run',
      'scratch',
      'disk-data',
    ]);
    expect(pod?.spec?.volumes?.map(({ name }) => name)).toEqual(['config', 'run', 'scratch', 'disk-data']);
    expect(JSON.parse(pod?.metadata.annotations?.['vmstead.io/machine'] ?? '')).toMatchObject({
      task: 'Layers',
    });
    expect(decision?.stage.phase).toBe('Stopped');
  });

  test('keeps it until the checksums are there, then ends it', () => {
    const pods = [taskPod(4, { status: runningPod })];
    expect(plan({ pods }).types).toEqual([]);
    expect(plan({ pods, snapshots: [aSnapshot('Ready')] }).types).toEqual([]);
    expect(plan({ pods, snapshots: [aSnapshot('Ready', true)] }).types).toEqual(['DeletePod']);
    expect(plan({ pods, snapshots: [] }).types).toEqual(['DeletePod']);
  });

  test('is started only when that pod has ended, in a life of a higher number', () => {
    const running = plan({ pods: [taskPod(4, { status: runningPod })] }, 'Always');
    expect(running.types).toEqual(['DeletePod']);
    expect(running.decision?.wait?.reason).toBe('TakingSnapshot');
    const over = plan({ pods: [taskPod(4, { status: ended('Stopped') })] }, 'Always');
    expect(over.types).toEqual(['TakeLease', 'CreatePod']);
    expect(over.after).toContain('DropFinalizer');
    expect(over.decision?.wanted.incarnation).toBe(5);
    expect(over.decision?.lastRun).toBeUndefined();
  });

  test('waits a while after a pod that failed', () => {
    const pods = [taskPod(4, { status: ended('DiskUnusable') })];
    expect(plan({ pods })).toMatchObject({ types: [], after: [] });
    expect(plan({ pods, now: NOW + 60_000 })).toMatchObject({ after: ['DeletePod', 'DropFinalizer'] });
  });

  test('gets none for what is taken of a running guest only, nor for what failed or is done', () => {
    const memory = { ...aSnapshot(), spec: { virtualMachine: 'web', memory: 'Include' as const } };
    for (const snapshot of [memory, aSnapshot('Failed'), aSnapshot('Ready')]) {
      expect(plan({ snapshots: [snapshot] }).types).toEqual([]);
    }
  });
});
