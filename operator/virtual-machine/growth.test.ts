import { expect, test } from 'vitest';
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';
import { classesToAsk } from './growth.ts';
import { planVirtualMachine } from './plan.ts';
import { statusOf } from './status.ts';
import { aPod, aVm, aWorld } from './testing.ts';

function claim(
  storage: string,
  status: PersistentVolumeClaim['status'] = { phase: 'Bound' },
): PersistentVolumeClaim {
  return {
    metadata: {
      name: 'web-data',
      namespace: 'default',
      uid: 'claim-uid',
      resourceVersion: '1',
      labels: { [LABEL.managedBy]: 'vmstead', [LABEL.vm]: 'web', [LABEL.disk]: 'data' },
    },
    spec: { storageClassName: 'fast', resources: { requests: { storage } } },
    status,
  };
}

const vm = aVm({ disks: [{ name: 'data', source: { blank: {} }, claim: { size: '20Gi' } }] });

function plan(has: PersistentVolumeClaim, ...expandable: string[]) {
  const claims = new Map([['web-data', has]]);
  const world = aWorld({ vm, claims, expandableClasses: new Set(expandable) });
  const { actions, decision, after } = planVirtualMachine(world);
  const condition = statusOf(world, decision!, undefined).conditions?.find(
    ({ type }) => type === 'DisksGrown',
  );
  return { grow: actions.filter(({ type }) => type === 'GrowClaim'), condition, after, claims };
}

test('a claim whose class can expand is asked to', () => {
  const { grow, condition, claims } = plan(claim('10Gi'), 'fast');
  expect(grow).toMatchObject([{ claim: { metadata: { name: 'web-data' } }, size: '20Gi' }]);
  expect(condition).toMatchObject({ status: 'False', reason: 'ClaimGrowing' });
  expect([...classesToAsk(vm, claims)]).toEqual(['fast']);
});

test('a class that cannot expand is told, and looked at again', () => {
  const { grow, condition, after } = plan(claim('10Gi'));
  expect(grow).toEqual([]);
  expect(condition?.message).toMatchInlineSnapshot(
    `"PersistentVolumeClaim web-data of disk data stays at 10Gi in place of 20Gi: StorageClass fast does not allow volume expansion. Set allowVolumeExpansion on it where its driver can do it, or copy the data to a disk of another class."`,
  );
  expect(after).toBeLessThanOrEqual(60_000);
});

test('while the storage works, its own words are told', () => {
  const conditions = [{ type: 'Resizing', status: 'True', message: 'controller at work' }];
  const { grow, condition } = plan(claim('20Gi', { phase: 'Bound', conditions }), 'fast');
  expect(grow).toEqual([]);
  expect(condition?.message).toMatchInlineSnapshot(
    `"PersistentVolumeClaim web-data of disk data grows to 20Gi: controller at work"`,
  );
});

test.each([
  ['as large as it should be', claim('20Gi')],
  ['larger, by a person', claim('30Gi')],
  ['the same in other words', claim('20480Mi')],
  ['not bound yet', claim('10Gi', { phase: 'Pending' })],
])('nothing is done to a claim that is %s', (_, has) => {
  const { grow, condition, claims } = plan(has, 'fast');
  expect([grow, condition]).toEqual([[], undefined]);
  expect(classesToAsk(vm, claims).size).toBe(0);
});

test('a pod is changed once when a file system waits for its kubelet to grow it', () => {
  const conditions = [{ type: 'FileSystemResizePending', status: 'True' }];
  const claims = new Map([['web-data', claim('20Gi', { phase: 'Bound', conditions })]]);
  const touched = (annotations: Record<string, string>) => {
    const pod = aPod(1);
    const world = aWorld({ vm, claims, pods: [{ ...pod, metadata: { ...pod.metadata, annotations } }] });
    return planVirtualMachine(world).actions.filter(({ type }) => type === 'TouchPod');
  };
  const grown = 'web-data=20Gi';
  expect(touched({})).toMatchObject([{ grown }]);
  expect(touched({ [ANNOTATION.grown]: 'web-data=10Gi' })).toMatchObject([{ grown }]);
  expect(touched({ [ANNOTATION.grown]: grown })).toEqual([]);
});
