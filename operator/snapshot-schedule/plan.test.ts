import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LABEL } from '../../crds/api.ts';
import { virtualMachineSnapshotScheduleStatus } from '../../crds/virtual-machine-snapshot-schedule.ts';
import type { StoredSnapshot } from '../snapshot/resources.ts';
import { aVm } from '../virtual-machine/testing.ts';
import { type NewSnapshot, planSchedule, type ScheduleWorld } from './plan.ts';
import type { StoredSchedule } from './resources.ts';
import { dueTimes } from './times.ts';

const at = (text: string) => Date.parse(text);
const vm = (changes: object = {}, status?: object) =>
  ({ ...aVm({}, status as never), metadata: { ...aVm().metadata, ...changes } }) as never;

function aSchedule(spec: object = {}, status?: StoredSchedule['status']): StoredSchedule {
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineSnapshotSchedule',
    metadata: {
      name: 'nightly',
      namespace: 'default',
      uid: 'schedule-uid',
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: { virtualMachine: 'web', schedule: '0 3 * * *', ...spec },
    ...(status ? { status } : {}),
  };
}

function made({ name, labels, spec }: NewSnapshot, phase?: 'Ready' | 'Failed' | 'Pending', takenAt?: string) {
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { name, namespace: 'default', uid: name, resourceVersion: '1', labels },
    spec,
    ...(phase ? { status: { phase, ...(takenAt ? { takenAt } : {}) } } : {}),
  } as StoredSnapshot;
}

const snapshotOf = (text: string, phase: 'Ready' | 'Failed' | 'Pending' = 'Ready') =>
  made(
    {
      name: `nightly-web-${at(text) / 60_000}`,
      labels: { [LABEL.schedule]: 'nightly' },
      spec: { virtualMachine: 'web' },
    },
    phase,
    text,
  );

function plan(now: string, changes: Partial<ScheduleWorld> = {}) {
  const world = { now: at(now), schedule: aSchedule(), virtualMachines: [vm()], snapshots: [], ...changes };
  const result = planSchedule(world);
  expect(virtualMachineSnapshotScheduleStatus.safeParse(result.status).error).toBeUndefined();
  return {
    ...result,
    names: result.create.map(({ name }) => name),
    reason: result.status.conditions?.[0]?.reason,
  };
}

describe('a schedule', () => {
  test('takes one when it is due, and says when the next one is', () => {
    expect(plan('2026-01-01T02:59:59Z')).toMatchObject({ names: [], after: 1000, reason: 'Scheduled' });
    const due = plan('2026-01-01T03:00:00Z');
    expect(due.names).toEqual([`nightly-web-${at('2026-01-01T03:00:00Z') / 60_000}`]);
    expect(due.status).toMatchObject({
      lastScheduleTime: '2026-01-01T03:00:00.000Z',
      nextScheduleTime: '2026-01-02T03:00:00.000Z',
    });
    expect(plan('2026-01-01T03:00:05Z', { schedule: aSchedule({}, due.status) }).names).toEqual([]);
  });

  test('is understood as cron writes it, nicknames and all', () => {
    const since = at('2026-01-01T00:00:00Z');
    const next = (pattern: string) =>
      new Date(dueTimes(pattern, 'UTC', since, since).next ?? 0).toISOString();
    expect(next('@daily')).toBe('2026-01-02T00:00:00.000Z');
    expect(next('@weekly')).toBe('2026-01-04T00:00:00.000Z');
    expect(next('30 9 * * MON-FRI')).toBe('2026-01-01T09:30:00.000Z');
    expect(next('*/15 8-18 L * *')).toBe('2026-01-31T08:00:00.000Z');
  });

  test('keeps to its time zone, in summer and in winter', () => {
    const since = at('2026-01-01T00:00:00Z');
    const berlin = (now: string) => dueTimes('0 3 * * *', 'Europe/Berlin', since, at(now)).next;
    expect(berlin('2026-01-10T00:00:00Z')).toBe(at('2026-01-10T02:00:00Z'));
    expect(berlin('2026-07-10T00:00:00Z')).toBe(at('2026-07-10T01:00:00Z'));
  });

  test('makes up for many times with one, and counts the others', () => {
    const { names, status } = plan('2026-01-05T04:00:00Z');
    expect(names).toHaveLength(1);
    expect(status).toMatchObject({ missed: 4, lastScheduleTime: '2026-01-05T03:00:00.000Z' });
  });

  test('that is suspended takes none, lets none go, and makes up for nothing later', () => {
    const snapshots = ['01', '02', '03'].map((day) => snapshotOf(`2026-01-${day}T03:00:00Z`));
    const spec = { suspend: true, retention: { count: 1 } };
    const now = '2026-01-05T04:00:00Z';
    const off = plan(now, { schedule: aSchedule(spec), snapshots });
    expect(off).toMatchObject({ names: [], remove: [], reason: 'Suspended' });
    expect(plan(now, { schedule: aSchedule({}, off.status), snapshots }).names).toEqual([]);
  });

  test('waits for the one before, and leaves a VM alone that has been off since', () => {
    const now = '2026-01-02T03:00:00Z';
    const pending = plan(now, { snapshots: [snapshotOf('2026-01-01T03:00:00Z', 'Pending')] });
    expect(pending.names).toEqual([]);
    expect(pending.status.skipped?.[0]).toContain('is not ready yet');
    const snapshots = [snapshotOf('2026-01-01T03:00:00Z')];
    const ended = (finishedAt: string) =>
      vm(
        {},
        {
          phase: 'Stopped',
          lastRun: { incarnation: 1, podUID: 'p', result: 'Stopped', message: '', finishedAt },
        },
      );
    const before = plan(now, { snapshots, virtualMachines: [ended('2026-01-01T02:00:00Z')] });
    expect(before.status.skipped?.[0]).toContain('has been off');
    expect(plan(now, { snapshots, virtualMachines: [ended('2026-01-01T04:00:00Z')] }).names).toHaveLength(1);
  });

  test('says what is wrong: the time zone, the pattern, a VM that is not there', () => {
    const now = '2026-01-01T01:00:00Z';
    expect(plan(now, { schedule: aSchedule({ timeZone: 'Nowhere/Town' }) }).reason).toBe('InvalidSchedule');
    expect(plan(now, { schedule: aSchedule({ schedule: '99 3 * * *' }) }).reason).toBe('InvalidSchedule');
    expect(plan(now, { virtualMachines: [] }).reason).toBe('NotFound');
  });

  test('of a selector is for each VM that has the labels', () => {
    const spec = { virtualMachine: undefined, selector: { matchLabels: { tier: 'db' } } };
    const virtualMachines = ['a', 'b', 'c'].map((name) =>
      vm({ name, labels: { tier: name === 'c' ? 'web' : 'db' } }),
    );
    const { create } = plan('2026-01-01T03:00:00Z', { schedule: aSchedule(spec), virtualMachines });
    expect(create.map((each) => each.spec.virtualMachine)).toEqual(['a', 'b']);
  });

  test('lets go by age, but never of the newest that is ready, nor of what it did not make', () => {
    const retention = { maxAge: '2d' };
    const snapshots = [
      snapshotOf('2026-01-01T03:00:00Z'),
      snapshotOf('2026-01-02T03:00:00Z'),
      ...['05', '06', '07'].map((day) => snapshotOf(`2026-01-${day}T03:00:00Z`, 'Failed')),
    ];
    const { labels: _, ...metadata } = snapshotOf('2025-01-01T03:00:00Z').metadata;
    snapshots.push({ ...snapshotOf('2025-01-01T03:00:00Z'), metadata });
    const { remove } = plan('2026-01-10T00:00:00Z', { schedule: aSchedule({ retention }), snapshots });
    expect(remove.map((each) => each.status?.takenAt)).toEqual([
      '2026-01-01T03:00:00Z',
      '2026-01-05T03:00:00Z',
    ]);
  });

  test('whatever the times of looking, no time has two snapshots and no more are kept than asked for', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 5, maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
        (steps, count, lost) => {
          let now = at('2026-01-01T00:00:00Z');
          let status: StoredSchedule['status'];
          let snapshots: StoredSnapshot[] = [];
          const everMade: string[] = [];
          for (const [index, minutes] of steps.entries()) {
            now += minutes * 60_000;
            const schedule = aSchedule({ schedule: '0 */6 * * *', retention: { count } }, status);
            const result = planSchedule({ now, schedule, virtualMachines: [vm()], snapshots });
            expect(result.create.length).toBeLessThanOrEqual(1);
            for (const each of result.create) {
              if (snapshots.some(({ metadata }) => metadata.name === each.name)) continue;
              expect(everMade).not.toContain(each.name);
              everMade.push(each.name);
              snapshots.push(made(each, 'Ready', new Date(now).toISOString()));
            }
            const gone = new Set(result.remove.map(({ metadata }) => metadata.name));
            snapshots = snapshots.filter(({ metadata }) => !gone.has(metadata.name));
            expect(snapshots.length).toBeLessThanOrEqual(count + 1);
            // An operator that dies before it has written the status finds the same time due again.
            if (!lost[index] || result.remove.length > 0) status = result.status;
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
