/** What the restores of one VM ask for now, and how far each one is. Pure; part of the VM's own plan. */
import type { LauncherReport } from '../../crds/channel.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { RestoreOrder } from '../../crds/snapshot-order.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { VirtualMachineRestoreStatus } from '../../crds/virtual-machine-restore.ts';
import type { StoredRestore, StoredSnapshot } from '../snapshot/resources.ts';
import { runStrategyOf } from '../virtual-machine/resolve.ts';
import { ended, inProgress, waiting } from './status.ts';

/** What the restores need to know of the VM. */
export interface RestoreSituation {
  now: number;
  vm: VirtualMachine;
  /** The life that may run, and what it was made as. */
  alive:
    | { incarnation: number; machine: MachineDescription | undefined; report: LauncherReport | undefined }
    | undefined;
  /** The last life that ended. */
  last:
    | { incarnation: number; result: string; message: string; machine: MachineDescription | undefined }
    | undefined;
  snapshots: readonly StoredSnapshot[];
}

export interface RestoresPlan {
  /** What the next start goes back to. */
  order: RestoreOrder | undefined;
  /** The VM is to be started for it. */
  start: boolean;
  /** End this life and those before it. */
  endUpTo: number | undefined;
  updates: { restore: StoredRestore; status: VirtualMachineRestoreStatus }[];
}

const isFinished = ({ status }: StoredRestore): boolean =>
  status?.phase === 'Succeeded' || status?.phase === 'Failed';

export function planRestores(situation: RestoreSituation, restores: readonly StoredRestore[]): RestoresPlan {
  const plan: RestoresPlan = { order: undefined, start: false, endUpTo: undefined, updates: [] };
  const open = restores
    .filter((each) => !isFinished(each) && each.metadata.deletionTimestamp === undefined)
    .sort(byAge);
  for (const [index, restore] of open.entries()) {
    const status =
      index === 0
        ? advance(situation, restore, plan)
        : waiting(situation.now, restore, 'Queued', `Waits for restore ${open[0]?.metadata.name}.`);
    if (differs(restore.status, status)) plan.updates.push({ restore, status });
  }
  return plan;
}

function byAge(a: StoredRestore, b: StoredRestore): number {
  const [first, second] = [a, b].map(({ metadata }) => metadata.creationTimestamp ?? '') as [string, string];
  if (first !== second) return first < second ? -1 : 1;
  return a.metadata.uid < b.metadata.uid ? -1 : 1;
}

/** Ends in which the restore was not tried, or has not shown what it came to. */
function advance(
  situation: RestoreSituation,
  restore: StoredRestore,
  plan: RestoresPlan,
): VirtualMachineRestoreStatus {
  const { now, vm, alive, last } = situation;
  const { uid } = restore.metadata;
  if (alive?.machine?.restore?.uid === uid) return running(now, restore, alive);
  if (!alive && last?.machine?.restore?.uid === uid && last.result === 'SnapshotUnusable') {
    return ended(now, restore, 'Failed', 'SnapshotUnusable', last.message, { incarnation: last.incarnation });
  }
  const snapshots = candidates(situation, restore);
  if ('reason' in snapshots) {
    return snapshots.wait
      ? waiting(now, restore, snapshots.reason, snapshots.message)
      : ended(now, restore, 'Failed', snapshots.reason, snapshots.message, {});
  }
  if (alive && !restore.spec.stop) {
    return waiting(
      now,
      restore,
      'VirtualMachineRunning',
      `VirtualMachine ${vm.metadata.name} runs; stop it, or make a restore with stop: true.`,
    );
  }
  if (alive) {
    plan.endUpTo = alive.incarnation;
    return inProgress(now, restore, 'Stopping', 'Waiting for the VM to be off.');
  }
  const { memory } = restore.spec;
  plan.order = { uid, snapshots: snapshots.list, memory: memory ?? 'IncludeIfThere' };
  if (runStrategyOf(vm.spec) === 'Halted') {
    return waiting(
      now,
      restore,
      'Halted',
      'spec.runStrategy of the VirtualMachine is Halted; the restore is carried out when it is started.',
    );
  }
  plan.start = true;
  return inProgress(now, restore, 'Starting', 'The VM is being started from the snapshot.');
}

function running(
  now: number,
  restore: StoredRestore,
  { incarnation, report }: NonNullable<RestoreSituation['alive']>,
): VirtualMachineRestoreStatus {
  const { restored, state } = report ?? {};
  if (restored?.uid !== restore.metadata.uid || (state !== 'Running' && state !== 'Paused')) {
    return inProgress(now, restore, 'Starting', 'The snapshot is being read through and gone back to.');
  }
  const { snapshot, memory, refused } = restored;
  const how = memory ? 'goes on where it was' : 'boots from its disks';
  return ended(
    now,
    restore,
    'Succeeded',
    'Restored',
    `The VM is back at snapshot ${snapshot.name} and ${how} (incarnation ${incarnation}).`,
    { snapshot: snapshot.name, memory, incarnation, ...(refused === undefined ? {} : { refused }) },
  );
}

type No = { reason: string; message: string; wait: boolean };

function candidates(
  { vm, snapshots }: RestoreSituation,
  { spec }: StoredRestore,
): { list: RestoreOrder['snapshots'] } | No {
  const own = snapshots.filter((each) => each.spec.virtualMachine === vm.metadata.name);
  if (spec.lastValid) {
    const list = own
      .filter(({ status }) => status?.phase === 'Ready')
      .sort((a, b) => ((a.status?.takenAt ?? '') > (b.status?.takenAt ?? '') ? -1 : 1))
      .slice(0, 16)
      .map(({ metadata: { uid, name } }) => ({ uid, name }));
    if (list.length > 0) return { list };
    return { reason: 'SnapshotNotFound', message: 'The VM has no snapshot that is ready.', wait: false };
  }
  const found = own.find(({ metadata }) => metadata.name === spec.snapshot);
  if (!found) {
    const message = `There is no VirtualMachineSnapshot ${spec.snapshot} of VirtualMachine ${vm.metadata.name} in this namespace.`;
    return { reason: 'SnapshotNotFound', message, wait: false };
  }
  const { uid, name } = found.metadata;
  if (found.status?.phase === 'Failed') {
    const message = `VirtualMachineSnapshot ${name} failed: there is nothing to go back to.`;
    return { reason: 'SnapshotFailed', message, wait: false };
  }
  if (found.status?.phase !== 'Ready') {
    return { reason: 'SnapshotNotReady', message: `Waits for VirtualMachineSnapshot ${name}.`, wait: true };
  }
  return { list: [{ uid, name }] };
}

function differs(
  before: VirtualMachineRestoreStatus | undefined,
  after: VirtualMachineRestoreStatus,
): boolean {
  const [was, is] = [before, after].map((each) => each?.conditions?.[0]);
  return before?.phase !== after.phase || was?.reason !== is?.reason || was?.message !== is?.message;
}
