import { describe, expect, test } from 'vitest';
import type { LauncherReport } from '../../crds/channel.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { StoredRestore, StoredSnapshot } from '../snapshot/resources.ts';
import { aVm, NOW } from '../virtual-machine/testing.ts';
import { planRestores, type RestoreSituation } from './plan.ts';

const meta = (name: string, at = '2026-01-01T11:00:00Z') => ({
  name,
  namespace: 'default',
  uid: `uid-${name}`,
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: at,
});

function aSnapshot(
  name: string,
  takenAt: string,
  phase: 'Ready' | 'Failed' | 'Pending' = 'Ready',
): StoredSnapshot {
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: meta(name),
    spec: { virtualMachine: 'web' },
    status: { phase, takenAt },
  };
}

function aRestore(spec: Partial<StoredRestore['spec']> = { snapshot: 'a' }, name = 'back'): StoredRestore {
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineRestore',
    metadata: meta(name),
    spec: { virtualMachine: 'web', ...spec },
  };
}

const machine = (uid?: string) =>
  ({
    restore: uid === undefined ? undefined : { uid, snapshots: [], memory: 'Exclude' },
  }) as unknown as MachineDescription;

function situation(changes: Partial<RestoreSituation> = {}): RestoreSituation {
  return {
    now: NOW,
    vm: aVm(),
    alive: undefined,
    last: undefined,
    snapshots: [aSnapshot('a', '2026-01-01T08:00:00Z'), aSnapshot('b', '2026-01-01T09:00:00Z')],
    ...changes,
  };
}

const running = (uid?: string, report?: Partial<LauncherReport>): Partial<RestoreSituation> => ({
  alive: { incarnation: 3, machine: machine(uid), report: report as LauncherReport },
});

function outcome(changes: Partial<RestoreSituation>, restore = aRestore()) {
  const { updates, ...plan } = planRestores(situation(changes), [restore]);
  const { phase, conditions } = updates[0]?.status ?? {};
  return { ...plan, phase, reason: conditions?.[0]?.reason };
}

describe('a restore', () => {
  test('of a VM that is off starts it from the snapshot', () => {
    expect(outcome({})).toMatchObject({
      phase: 'InProgress',
      start: true,
      order: { uid: 'uid-back', snapshots: [{ uid: 'uid-a', name: 'a' }], memory: 'IncludeIfThere' },
    });
  });

  test('waits for a VM that runs, or stops it where it is told to', () => {
    expect(outcome(running())).toMatchObject({
      phase: 'Pending',
      reason: 'VirtualMachineRunning',
      endUpTo: undefined,
    });
    expect(outcome(running(), aRestore({ snapshot: 'a', stop: true }))).toMatchObject({
      phase: 'InProgress',
      reason: 'Stopping',
      endUpTo: 3,
      order: undefined,
    });
  });

  test('does not start a VM that its spec holds off, but what starts it goes back', () => {
    expect(outcome({ vm: aVm({ runStrategy: 'Halted' }) })).toMatchObject({
      phase: 'Pending',
      reason: 'Halted',
      start: false,
      order: { uid: 'uid-back' },
    });
  });

  test('is done when the guest runs, and only in the life that began with it', () => {
    const restored = { uid: 'uid-back', snapshot: { uid: 'uid-a', name: 'a' }, memory: true };
    expect(outcome(running('uid-back', { state: 'Starting', restored }))).toMatchObject({
      phase: 'InProgress',
    });
    expect(outcome(running('uid-back', { state: 'Running', restored }))).toMatchObject({
      phase: 'Succeeded',
    });
    expect(outcome(running('uid-other', { state: 'Running', restored }))).toMatchObject({ phase: 'Pending' });
  });

  test('fails where no snapshot could be gone back to, and goes on after any other end', () => {
    const last = {
      incarnation: 3,
      result: 'SnapshotUnusable',
      message: 'a: layer',
      machine: machine('uid-back'),
    };
    expect(outcome({ last })).toMatchObject({ phase: 'Failed', reason: 'SnapshotUnusable', start: false });
    expect(outcome({ last: { ...last, result: 'NodeRestarted' } })).toMatchObject({ start: true });
    expect(outcome({ last: { ...last, machine: machine() } })).toMatchObject({ start: true });
  });

  test('of the last valid one takes all that are ready, newest first', () => {
    const snapshots = [...situation().snapshots, aSnapshot('c', '2026-01-01T10:00:00Z', 'Failed')];
    expect(
      outcome({ snapshots }, aRestore({ lastValid: true })).order?.snapshots.map(({ name }) => name),
    ).toEqual(['b', 'a']);
    expect(outcome({ snapshots: [] }, aRestore({ lastValid: true }))).toMatchObject({ phase: 'Failed' });
  });

  test('of a snapshot that is not there fails, of one that is not ready waits', () => {
    expect(outcome({}, aRestore({ snapshot: 'z' }))).toMatchObject({
      phase: 'Failed',
      reason: 'SnapshotNotFound',
    });
    const snapshots = [aSnapshot('a', '', 'Pending')];
    expect(outcome({ snapshots })).toMatchObject({
      phase: 'Pending',
      reason: 'SnapshotNotReady',
      start: false,
    });
  });

  test('comes after an older one', () => {
    const second = {
      ...aRestore({ snapshot: 'b' }, 'second'),
      metadata: meta('second', '2026-01-01T11:30:00Z'),
    };
    const { order, updates } = planRestores(situation(), [second, aRestore()]);
    expect(order?.uid).toBe('uid-back');
    expect(updates.map(({ restore, status }) => [restore.metadata.name, status.phase])).toEqual([
      ['back', 'InProgress'],
      ['second', 'Pending'],
    ]);
  });
});
