/**
 * What to do about the snapshots of one VM. Pure. The launcher that holds the disks is the truth: what it reports is
 * there, and what it reports without an object here was deleted.
 */
import type { LauncherReport } from '../../crds/channel.ts';
import type { SnapshotOrder, SnapshotReport } from '../../crds/snapshot-order.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { VirtualMachineSnapshotStatus } from '../../crds/virtual-machine-snapshot.ts';
import type { StoredSnapshot } from './resources.ts';
import { failed, pending, ready, taking } from './status.ts';

/** What became of an order that this process gave. */
export type OrderState = 'Given' | { code: string; message: string };

export interface SnapshotWorld {
  /** Milliseconds since the epoch. */
  now: number;
  namespace: string;
  name: string;
  /** Absent: deleted. */
  vm: VirtualMachine | undefined;
  snapshots: readonly StoredSnapshot[];
  /** The launcher that holds the VM's disks now; absent: it is off, or nothing is heard of it. */
  launcher: { podUID: string; incarnation: number; report: LauncherReport; canSnapshot: boolean } | undefined;
  /** By the snapshot's UID. */
  orders: ReadonlyMap<string, OrderState>;
}

export type SnapshotAction =
  | { type: 'Take'; podUID: string; order: SnapshotOrder; snapshot: StoredSnapshot }
  /** Only where the API server itself knows no object of that UID. */
  | { type: 'Forget'; podUID: string; uid: string };

export interface SnapshotPlan {
  actions: SnapshotAction[];
  statuses: { snapshot: StoredSnapshot; status: VirtualMachineSnapshotStatus }[];
  /** Milliseconds after which time alone may change something. */
  after: number | undefined;
}

/** Milliseconds that a snapshot waits for its VM: the two may have been applied together. */
const ARRIVAL = 5000;
/** Milliseconds until what the launcher could not do yet is tried again. */
const AGAIN = 5000;
const DEFAULT_DEADLINE = 300;
/** Codes that say "not now" or "nobody knows": the order is given again, which is harmless. */
const PASSING = new Set(['SnapshotWaits', 'QmpClosed', 'NotConnected']);

/** States of a launcher in which it takes snapshots with memory, and without. */
const RUNS = new Set(['Running', 'Paused']);
const TAKES = new Set([...RUNS, 'Off']);
/** Ends of a life in which the guest put its file systems in order. */
const POWERED_OFF = new Set(['GuestPowerOff', 'Stopped']);

export function planSnapshots(world: SnapshotWorld): SnapshotPlan {
  const plan: SnapshotPlan = { actions: [], statuses: [], after: undefined };
  const there = new Map((world.launcher?.report.snapshots ?? []).map((each) => [each.uid, each]));
  for (const snapshot of world.snapshots) {
    const status = statusOf(world, snapshot, there.get(snapshot.metadata.uid), plan);
    if (status) plan.statuses.push({ snapshot, status });
  }
  if (world.vm && world.launcher) {
    const known = new Set(world.snapshots.map(({ metadata }) => metadata.uid));
    for (const uid of there.keys()) {
      if (!known.has(uid)) plan.actions.push({ type: 'Forget', podUID: world.launcher.podUID, uid });
    }
  }
  return plan;
}

function statusOf(
  world: SnapshotWorld,
  snapshot: StoredSnapshot,
  report: SnapshotReport | undefined,
  plan: SnapshotPlan,
): VirtualMachineSnapshotStatus | undefined {
  const { vm, launcher, now } = world;
  const { uid, creationTimestamp, deletionTimestamp } = snapshot.metadata;
  if (deletionTimestamp !== undefined || snapshot.status?.phase === 'Failed') return undefined;
  if (vm && report) return ready(now, snapshot, vm, report);
  if (snapshot.status?.phase === 'Ready') {
    // Off or out of reach, it is still in the claims; a launcher that has them and does not have it is another thing.
    if (!vm || !launcher || launcher.report.state === 'Starting' || !launcher.canSnapshot) return undefined;
    return failed(
      now,
      snapshot,
      'Lost',
      `The disks of VirtualMachine ${world.name} do not have it any more: their claims were made anew, or restored from elsewhere.`,
    );
  }
  if (!vm) {
    const left = Date.parse(creationTimestamp ?? '') + ARRIVAL - now;
    if (left > 0) {
      plan.after = Math.min(plan.after ?? left, left);
      return undefined;
    }
    return failed(now, snapshot, 'NotFound', `There is no VirtualMachine ${world.name} in this namespace.`);
  }
  const problem = unsupported(vm, snapshot);
  if (problem !== undefined) return failed(now, snapshot, 'SnapshotUnusable', problem);
  const withMemory = snapshot.spec.memory === 'Include';
  const off = launcher?.report.state === 'Off';
  if (!launcher || !(withMemory ? RUNS : TAKES).has(launcher.report.state)) {
    const state = vm.status?.phase ?? 'not running';
    const message = withMemory
      ? `VirtualMachine ${world.name} is ${state}; the snapshot is taken when it runs.`
      : `VirtualMachine ${world.name} is ${state}; the snapshot is taken when it runs, or by a pod that has its claims while it is off.`;
    return pending(now, snapshot, 'NotRunning', message);
  }
  if (!launcher.canSnapshot) {
    return pending(
      now,
      snapshot,
      'RestartRequired',
      `The launcher of VirtualMachine ${world.name} is of a version that takes no snapshots; restart the VM.`,
    );
  }
  const order = world.orders.get(uid);
  if (typeof order === 'object' && !PASSING.has(order.code)) {
    return failed(now, snapshot, order.code, sentence(order.message));
  }
  if (order !== 'Given') {
    if (typeof order === 'object') plan.after = Math.min(plan.after ?? AGAIN, AGAIN);
    const { quiesce, deadlineSeconds } = snapshot.spec;
    plan.actions.push({
      type: 'Take',
      podUID: launcher.podUID,
      snapshot,
      order: {
        uid,
        name: snapshot.metadata.name,
        memory: withMemory,
        quiesce: quiesce ?? 'Auto',
        deadlineSeconds: deadlineSeconds ?? DEFAULT_DEADLINE,
        ...(off && POWERED_OFF.has(vm.status?.lastRun?.result ?? '') ? { poweredOff: true } : {}),
      },
    });
  }
  return taking(
    now,
    snapshot,
    typeof order === 'object' ? sentence(order.message) : 'The launcher takes it.',
  );
}

/** What the spec itself rules out. */
export function unsupported(vm: VirtualMachine, { spec }: StoredSnapshot): string | undefined {
  if (spec.memory === 'Include' && vm.spec.state === undefined) {
    return 'The VM has no place for its memory: set spec.state of the VirtualMachine, with a size somewhat above its memory, and restart it.';
  }
  const plugged = vm.status?.disks?.find(
    ({ attachment }) => attachment !== undefined && attachment.state !== 'InPod',
  );
  if (plugged) {
    return `Disk ${plugged.name} came while the VM runs, through a pod of its own, and is not among the disks of which a snapshot can be taken at one moment; restart the VM, or take the disk away, and make the snapshot anew.`;
  }
  for (const { name, source, claim, readOnly, device, shareable } of vm.spec.disks ?? []) {
    if (device === 'cdrom' || readOnly || source === undefined) continue;
    if (shareable) {
      return `Disk ${name} is shareable: other VMs may be writing to it, and none of them can freeze it for the others; snapshot that claim by its storage.`;
    }
    if (source.claim) {
      return `Disk ${name} is in a claim that Vmstead did not make, where it puts no layers; snapshot that claim by its storage.`;
    }
    if (claim?.volumeMode === 'Block') {
      return `Disk ${name} is in a claim with volumeMode Block, which has no room for layers; snapshot that claim by its storage.`;
    }
  }
  return undefined;
}

const sentence = (text: string): string =>
  `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
