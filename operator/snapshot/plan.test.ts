import { describe, expect, test } from 'vitest';
import type { LauncherReport } from '../../crds/channel.ts';
import type { SnapshotReport } from '../../crds/snapshot-order.ts';
import { virtualMachineSnapshotStatus } from '../../crds/virtual-machine-snapshot.ts';
import { aVm, NOW } from '../virtual-machine/testing.ts';
import { planSnapshots, type SnapshotWorld } from './plan.ts';
import type { StoredSnapshot } from './resources.ts';

function aSnapshot(changes: Partial<StoredSnapshot> = {}): StoredSnapshot {
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: {
      name: 'before',
      namespace: 'default',
      uid: 'snap-uid',
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T11:59:59Z',
    },
    spec: { virtualMachine: 'web' },
    ...changes,
  };
}

const taken: SnapshotReport = {
  uid: 'snap-uid',
  name: 'before',
  at: '2026-01-01T12:00:00Z',
  frozen: false,
  disks: [{ name: 'data', bytes: 1 << 20 }],
};

function launcher(report: Partial<LauncherReport> = {}): SnapshotWorld['launcher'] {
  return { podUID: 'pod', incarnation: 1, report: { state: 'Running', ...report }, canSnapshot: true };
}

function plan(changes: Partial<SnapshotWorld> = {}) {
  const world: SnapshotWorld = {
    now: NOW,
    namespace: 'default',
    name: 'web',
    vm: aVm(),
    snapshots: [aSnapshot()],
    launcher: launcher(),
    orders: new Map(),
    ...changes,
  };
  const { actions, statuses, after } = planSnapshots(world);
  const { phase, conditions } = statuses[0]?.status ?? {};
  for (const { status } of statuses)
    expect(virtualMachineSnapshotStatus.safeParse(status).error).toBeUndefined();
  return { actions, after, phase, reason: conditions?.[0]?.reason, status: statuses[0]?.status };
}

describe('a snapshot', () => {
  test('is ordered of the launcher once, and again where nobody knows what became of the order', () => {
    expect(plan()).toMatchObject({
      phase: 'InProgress',
      actions: [{ type: 'Take', order: { uid: 'snap-uid' } }],
    });
    expect(plan({ orders: new Map([['snap-uid', 'Given']]) })).toMatchObject({
      phase: 'InProgress',
      actions: [],
    });
    const lost = new Map([['snap-uid', { code: 'NotConnected', message: 'lost' }]]);
    expect(plan({ orders: lost })).toMatchObject({
      phase: 'InProgress',
      actions: [{ type: 'Take' }],
      after: 5000,
    });
  });

  test('of a VM that is off is taken by what has its claims, which cannot have the memory', () => {
    const off = launcher({ state: 'Off', snapshots: [] });
    const lastRun = { incarnation: 1, podUID: 'p', result: 'GuestPowerOff', message: 'x', finishedAt: 'x' };
    expect(plan({ launcher: off }).actions).toMatchObject([{ type: 'Take', order: { memory: false } }]);
    expect(plan({ launcher: off, vm: aVm({}, { lastRun }) }).actions).toMatchObject([
      { type: 'Take', order: { poweredOff: true } },
    ]);
    const memory = aSnapshot({ spec: { virtualMachine: 'web', memory: 'Include' } });
    const vm = aVm({ state: { size: '1Gi' } });
    expect(plan({ launcher: off, vm, snapshots: [memory] })).toMatchObject({
      reason: 'NotRunning',
      actions: [],
    });
  });

  test('waits for a VM that is off, and fails for what its launcher says or its spec rules out', () => {
    expect(plan({ launcher: undefined })).toMatchObject({
      phase: 'Pending',
      reason: 'NotRunning',
      actions: [],
    });
    const full = new Map([['snap-uid', { code: 'SnapshotNoRoom', message: 'the claim has 1 MiB left' }]]);
    expect(plan({ orders: full })).toMatchObject({ phase: 'Failed', reason: 'SnapshotNoRoom', actions: [] });
    const memory = aSnapshot({ spec: { virtualMachine: 'web', memory: 'Include' } });
    expect(plan({ snapshots: [memory] })).toMatchObject({ phase: 'Failed', reason: 'SnapshotUnusable' });
    const vm = aVm({ disks: [{ name: 'data', source: { claim: { name: 'theirs' } } }] });
    expect(plan({ vm })).toMatchObject({ phase: 'Failed', reason: 'SnapshotUnusable' });
  });

  test('is ready when the launcher has it, stays so while the VM is off, and is lost when its disks are others', () => {
    const ready = plan({ launcher: launcher({ snapshots: [taken] }) });
    expect(ready).toMatchObject({ phase: 'Ready', actions: [], status: { consistency: 'Crash' } });
    const snapshots = [aSnapshot({ status: ready.status! })];
    expect(plan({ snapshots, launcher: undefined }).phase).toBeUndefined();
    expect(plan({ snapshots, launcher: launcher({ state: 'Starting' }) }).phase).toBeUndefined();
    expect(plan({ snapshots })).toMatchObject({ phase: 'Failed', reason: 'Lost' });
  });

  test('says what it is worth', () => {
    const sha256 = 'f'.repeat(64);
    const memory = {
      ...taken,
      memory: { bytes: 1 << 28, sha256 },
      disks: [{ name: 'data', bytes: 1, sha256 }],
    };
    const { status } = plan({ launcher: launcher({ snapshots: [memory] }) });
    expect(status).toMatchObject({
      consistency: 'Memory',
      memory: { claimName: 'web-state', size: '256Mi' },
    });
    expect(status?.conditions?.[1]).toMatchObject({ type: 'Verified', status: 'True' });
    const frozen = plan({ launcher: launcher({ snapshots: [{ ...taken, frozen: true }] }) });
    expect(frozen.status).toMatchObject({ consistency: 'Filesystem' });
  });

  test('without an object is given up, one that failed is left alone', () => {
    expect(plan({ snapshots: [], launcher: launcher({ snapshots: [taken] }) }).actions).toEqual([
      { type: 'Forget', podUID: 'pod', uid: 'snap-uid' },
    ]);
    expect(plan({ snapshots: [aSnapshot({ status: { phase: 'Failed' } })] })).toMatchObject({ actions: [] });
  });

  test('of a VM that is not there fails when both had time to arrive', () => {
    expect(plan({ vm: undefined, launcher: undefined })).toMatchObject({ phase: undefined, after: 4000 });
    expect(plan({ vm: undefined, launcher: undefined, now: NOW + 60_000 })).toMatchObject({
      reason: 'NotFound',
    });
  });
});
