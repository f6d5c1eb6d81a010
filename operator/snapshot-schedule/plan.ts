/** What to do about one schedule: the snapshot that is due, and those that are kept no longer. Pure. */
import { LABEL } from '../../crds/api.ts';
import type { Condition } from '../../crds/kubernetes.ts';
import type { VirtualMachineSnapshotScheduleStatus } from '../../crds/virtual-machine-snapshot-schedule.ts';
import type { StoredSnapshot } from '../snapshot/resources.ts';
import type { StoredVirtualMachine } from '../virtual-machine/resources.ts';
import type { StoredSchedule } from './resources.ts';
import { ageOf, type DueTimes, dueTimes } from './times.ts';

export interface ScheduleWorld {
  /** Milliseconds since the epoch. */
  now: number;
  schedule: StoredSchedule;
  /** Of the namespace. */
  virtualMachines: readonly StoredVirtualMachine[];
  /** Of the namespace. */
  snapshots: readonly StoredSnapshot[];
}

export interface NewSnapshot {
  name: string;
  labels: Record<string, string>;
  spec: StoredSnapshot['spec'];
}

export interface SchedulePlan {
  create: NewSnapshot[];
  remove: StoredSnapshot[];
  status: VirtualMachineSnapshotScheduleStatus;
  /** Milliseconds after which time alone changes something. */
  after: number | undefined;
}

const DEFAULT_COUNT = 7;
/** Failed ones of a VM that are kept, to be looked at. */
const FAILED_KEPT = 2;
const LONGEST_HISTORY = 16;
/** Milliseconds; a timer cannot be set for longer than a few weeks. */
const LOOK_AGAIN = 3_600_000;
const OFF: ReadonlySet<string> = new Set(['Stopped', 'Succeeded', 'Failed']);

export function planSchedule(world: ScheduleWorld): SchedulePlan {
  const { now, schedule } = world;
  const { spec, status: before, metadata } = schedule;
  const own = world.snapshots
    .filter((each) => each.metadata.labels?.[LABEL.schedule] === metadata.name)
    .filter(({ metadata: { deletionTimestamp } }) => deletionTimestamp === undefined)
    .sort((a, b) => scheduledAt(b) - scheduledAt(a));
  const history = own.slice(0, LONGEST_HISTORY).map((each) => ({
    name: each.metadata.name,
    virtualMachine: each.spec.virtualMachine,
    ...(each.status?.phase === undefined ? {} : { phase: each.status.phase }),
    scheduledAt: new Date(scheduledAt(each)).toISOString(),
  }));
  const since = Date.parse(before?.lastScheduleTime ?? metadata.creationTimestamp ?? '');
  let times: DueTimes;
  try {
    times = dueTimes(spec.schedule, spec.timeZone ?? 'UTC', since, now);
  } catch (error) {
    const message = `The schedule cannot be understood: ${(error as Error).message}`;
    const status = compose(schedule, now, 'False', 'InvalidSchedule', message);
    return { create: [], remove: [], status: { ...status, history }, after: undefined };
  }
  const plan: SchedulePlan = { create: [], remove: [], status: {}, after: LOOK_AGAIN };
  const skipped: string[] = [];
  if (times.due !== undefined && !spec.suspend) {
    for (const vm of chosen(world)) {
      const ofVm = own.filter((each) => each.spec.virtualMachine === vm.metadata.name);
      const why = reasonToSkip(vm, ofVm, times.due);
      if (why === undefined) plan.create.push(newSnapshot(schedule, vm.metadata.name, times.due));
      else skipped.push(`${vm.metadata.name}: ${why}`.slice(0, 300));
    }
  }
  if (!spec.suspend) {
    const { count = DEFAULT_COUNT, maxAge } = spec.retention ?? {};
    const oldest = maxAge === undefined ? Number.NEGATIVE_INFINITY : now - ageOf(maxAge);
    for (const [, list] of Map.groupBy(own, (each) => each.spec.virtualMachine)) {
      plan.remove.push(...expired(list, count, oldest));
    }
  }
  const [state, reason, message] = conditionOf(world, times);
  // A time that went by while it was suspended is over: it is not made up for afterwards.
  const last = times.due ?? (before?.lastScheduleTime === undefined ? undefined : since);
  const missed = (before?.missed ?? 0) + (spec.suspend ? 0 : times.missed);
  const said = times.due === undefined ? (before?.skipped ?? []) : skipped.slice(0, 16);
  plan.status = {
    ...compose(schedule, now, state, reason, message),
    ...(last === undefined ? {} : { lastScheduleTime: new Date(last).toISOString() }),
    ...(times.next === undefined || spec.suspend
      ? {}
      : { nextScheduleTime: new Date(times.next).toISOString() }),
    ...(missed === 0 ? {} : { missed }),
    ...(said.length === 0 ? {} : { skipped: said }),
    ...(history.length === 0 ? {} : { history }),
  };
  if (times.next !== undefined) plan.after = Math.min(LOOK_AGAIN, Math.max(1, times.next - now));
  return plan;
}

function chosen({ schedule, virtualMachines }: ScheduleWorld): readonly StoredVirtualMachine[] {
  const { virtualMachine, selector } = schedule.spec;
  return virtualMachines.filter(({ metadata }) => {
    if (metadata.deletionTimestamp !== undefined) return false;
    if (selector === undefined) return metadata.name === virtualMachine;
    return Object.entries(selector.matchLabels).every(([name, value]) => metadata.labels?.[name] === value);
  });
}

function reasonToSkip(
  { status }: StoredVirtualMachine,
  own: readonly StoredSnapshot[],
  due: number,
): string | undefined {
  const open = own.find((each) => each.status?.phase !== 'Ready' && each.status?.phase !== 'Failed');
  // The one of this very time is found when the write of the status was lost: it is made once, by its name.
  if (open !== undefined && scheduledAt(open) !== due) return `${open.metadata.name} is not ready yet`;
  const last = own.find((each) => each.status?.phase === 'Ready')?.status?.takenAt;
  const ended = status?.lastRun?.finishedAt;
  const off = status?.phase !== undefined && OFF.has(status.phase);
  if (off && last !== undefined && ended !== undefined && Date.parse(last) > Date.parse(ended)) {
    return 'it has been off since the last one, which has all that there is';
  }
  return undefined;
}

/** The name is of the time that it is for, so that no time has two. */
function newSnapshot({ metadata, spec }: StoredSchedule, vm: string, due: number): NewSnapshot {
  return {
    name: `${metadata.name}-${vm}-${due / 60_000}`,
    labels: { [LABEL.schedule]: metadata.name, [LABEL.vm]: vm },
    spec: { virtualMachine: vm, ...spec.template },
  };
}

/** When it was due, from its name. */
function scheduledAt({ metadata }: StoredSnapshot): number {
  const minute = Number(/-([0-9]+)$/.exec(metadata.name)?.[1]);
  return Number.isFinite(minute) ? minute * 60_000 : Date.parse(metadata.creationTimestamp ?? '');
}

/** @param list of one VM, the newest first */
function expired(list: readonly StoredSnapshot[], count: number, oldest: number): StoredSnapshot[] {
  const ready = list.filter(({ status }) => status?.phase === 'Ready');
  const failed = list.filter(({ status }) => status?.phase === 'Failed');
  return [
    ...ready.filter((each, index) => index > 0 && (index >= count || scheduledAt(each) < oldest)),
    ...failed.slice(FAILED_KEPT),
  ];
}

function conditionOf(world: ScheduleWorld, { next }: DueTimes): [Condition['status'], string, string] {
  const { spec } = world.schedule;
  if (spec.suspend) return ['False', 'Suspended', 'spec.suspend is true: none is taken and none let go.'];
  const vms = chosen(world);
  if (vms.length === 0) {
    const message = spec.selector
      ? 'No VirtualMachine of the namespace has the labels of spec.selector.'
      : `There is no VirtualMachine ${spec.virtualMachine} in this namespace.`;
    return ['False', 'NotFound', message];
  }
  if (next === undefined) return ['False', 'NeverAgain', 'The schedule has no time that is still to come.'];
  return [
    'True',
    'Scheduled',
    `${vms.length === 1 ? 'One VM is' : `${vms.length} VMs are`} snapshotted at nextScheduleTime.`,
  ];
}

function compose(
  { metadata, status }: StoredSchedule,
  now: number,
  state: Condition['status'],
  reason: string,
  long: string,
): VirtualMachineSnapshotScheduleStatus {
  const before = status?.conditions?.find(({ type }) => type === 'Ready');
  const lastTransitionTime =
    before?.status === state ? before.lastTransitionTime : new Date(now).toISOString();
  const condition = {
    type: 'Ready',
    status: state,
    reason,
    message: long.slice(0, 1024),
    lastTransitionTime,
  };
  return { observedGeneration: metadata.generation ?? 1, conditions: [condition] };
}
