/**
 * What to do about one VM, from what was observed. Pure: the same world gives the same plan, and a plan that
 * was carried out gives an empty one.
 */
import { ANNOTATION, LAUNCHER_FINALIZER } from '../../crds/api.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { VirtualMachine, VirtualMachineStatus } from '../../crds/virtual-machine.ts';
import type { Lease } from '../kube/resources.ts';
import { planOperations, planOrphans, type Situation } from '../operation/progress.ts';
import {
  holderKey,
  holdersOf,
  leaseAge,
  ORPHAN_AFTER,
  useOf,
  vmOfLauncher,
} from '../ownership/claim-lease.ts';
import { planRestores, type RestoreSituation } from '../restore/plan.ts';
import type { Steps } from './action.ts';
import { endOrphaned, takenIn } from './attachment-ends.ts';
import { isIndependent, ownersWithout } from './bases.ts';
import { type ClaimsPlan, diskClaims, planClaims } from './claims.ts';
import { type Growth, grownClaims, planGrowth } from './growth.ts';
import { planHotplug } from './hotplug.ts';
import { planLive } from './live-plan.ts';
import { describeMachine } from './machine.ts';
import { planOff } from './off.ts';
import type { AttachmentState } from './plugged-disk.ts';
import {
  type CrashLoop,
  crashLoopOf,
  type LastRun,
  lastRunOf,
  type Power,
  powerOf,
  type Wish,
  wishOf,
} from './power.ts';
import { chooseAccelerator, pinnedBy, type Resolved, resolve, runStrategyOf } from './resolve.ts';
import { descriptionOf, highestIncarnation, type Run, runsOf } from './runs.ts';
import { type Stage, stageOf } from './stage.ts';
import { nextIncarnation, start } from './start.ts';
import type { Wait } from './waiting.ts';
import type { World } from './world.ts';

/** What was decided about a VM that exists; its status is computed from this. */
export interface Decision {
  vm: VirtualMachine;
  runs: readonly Run[];
  /** Pods that do something about the disks while it is off. */
  tasks: readonly Run[];
  /** The run that may be alive. */
  alive: Run | undefined;
  wish: Wish;
  power: Power;
  lastRun: LastRun | undefined;
  crashLoop: CrashLoop | undefined;
  claims: ClaimsPlan;
  /** Disks that came while the machine runs, or come, or go, by name. */
  attachments: ReadonlyMap<string, AttachmentState>;
  /** What is not as large yet as it should be. */
  growth: Growth | undefined;
  /** What the running machine was made as, and what the next start would make of the spec. */
  running: MachineDescription | undefined;
  wanted: MachineDescription;
  resolved: Resolved;
  stage: Stage;
  /** What the start waits for, if anything. */
  wait: Wait | undefined;
}

export interface Plan extends Steps {
  /** Absent: the VM is gone. */
  decision: Decision | undefined;
}

/** Milliseconds after which a command that was not answered is sent again. */
const COMMAND_AGAIN = 10_000;

export function planVirtualMachine(world: World): Plan {
  const all = runsOf(world);
  const runs = all.filter(({ task }) => !task);
  const plan: Plan = { actions: [], afterStatus: [], decision: undefined, after: undefined };
  const { vm } = world;
  if (!vm || vm.metadata.deletionTimestamp !== undefined) {
    for (const run of all) endRun(run, undefined, plan);
    reap(world, all, () => true, plan);
    endOrphaned(world, all, plan);
    for (const [lease, holders] of abandoned(world, all)) release(plan, lease, holders);
    const orphans = planOrphans(world.now, world.operations);
    for (const each of orphans.updates) plan.afterStatus.push({ type: 'UpdateOperation', ...each });
    for (const operation of orphans.expired) plan.afterStatus.push({ type: 'DeleteOperation', operation });
    plan.after = earliest([orphans.after, ...abandonedIn(world, all)]);
    return plan;
  }

  const highest = highestIncarnation(world, all);
  const lastRun = lastRunOf(vm.status, runs);
  const crashLoop = crashLoopOf(vm.status, runs, lastRun);
  const claims = planClaims(world, vm);
  // With two alive (which the pod names make impossible) the newer one is the VM, and both are seen to end.
  const alive = runs.filter((run) => !run.end).at(-1);
  let running = alive?.own ? descriptionOf(alive.pod) : undefined;
  const pinned = pinnedBy(withRunningMachine(vm.status, running));
  const accelerator = chooseAccelerator(vm.spec, world.nodes);
  const resolved = resolve(world, vm.spec, pinned, accelerator, world.defaults.defaultMachineType);
  const operations = planOperations(
    situationOf(world, vm, alive, powerOf(vm, runs, highest), highest, running),
    world.operations,
  );
  const restores = planRestores(restoreSituationOf(world, vm, runs, alive, running), world.restores);
  if (restores.start && !operations.end) {
    // Going back to a snapshot is a wish for it to run, as a Start is.
    const afterIncarnation = Math.max(highest, operations.power.afterIncarnation);
    operations.power = { state: 'Running', runStrategy: runStrategyOf(vm.spec), afterIncarnation };
  }
  const wish = wishOf(runStrategyOf(vm.spec), operations.power, lastRun);
  const incarnation = nextIncarnation(world, all, highest);
  const wanted = describeMachine({
    namespace: world.namespace,
    name: world.name,
    uid: vm.metadata.uid ?? '',
    incarnation,
    spec: vm.spec,
    resolved,
    claims: diskClaims(claims),
    channel: world.defaults.channel,
  });
  if (restores.order) wanted.restore = restores.order;

  let wait: Wait | undefined;
  for (const draft of claims.create) plan.actions.push({ type: 'CreateClaim', claim: draft });
  for (const each of claims.setOwner) plan.actions.push({ type: 'SetClaimOwner', ...each });
  const endUpTo = operations.end?.upTo ?? restores.endUpTo;
  const off = planOff(world, vm, all);
  for (const { pod } of off.end) plan.actions.push({ type: 'DeletePod', pod, graceSeconds: undefined });
  if (!wish.on || endUpTo !== undefined) {
    const force = operations.end?.force === true;
    for (const run of runs) {
      if (wish.on && endUpTo !== undefined && run.incarnation > endUpTo) continue;
      endRun(run, force ? 1 : undefined, plan);
    }
    if (off.start && !alive && claims.create.length === 0) {
      const { restore: _, ...machine } = wanted;
      const task = { ...machine, task: 'Layers' as const };
      start(world, vm, { claims, crashLoop: undefined, wanted: task, resolved, runs: all }, plan);
    }
  } else if (off.alive) {
    if (!off.end.includes(off.alive)) endRun(off.alive, undefined, plan);
    const message = `Waiting for pod ${off.alive.pod.metadata.name} to let go of the claims, in which it takes a snapshot.`;
    wait = { reason: 'TakingSnapshot', message };
  } else if (!alive) {
    wait = start(world, vm, { claims, crashLoop, wanted, resolved, runs: all }, plan);
  } else if (!alive.own) {
    endRun(alive, undefined, plan);
    wait = {
      reason: 'EarlierVirtualMachine',
      message: `Waiting for pod ${alive.pod.metadata.name} of an earlier VirtualMachine of this name to end.`,
    };
  }

  if (alive?.own) {
    const report = world.contacts.get(alive.pod.metadata.uid)?.report;
    for (const { disk, claim, base } of claims.usable) {
      if (!base || !isIndependent(report, disk)) continue;
      plan.actions.push({ type: 'LetGoOfBase', claim });
      const owners = ownersWithout(base.claim, claim);
      if (owners) plan.actions.push({ type: 'SetClaimOwner', claim: base.claim, owners });
    }
  }

  planClones(vm, claims, all, plan);

  const last = runs.filter((run) => run.own && run.end).at(-1);
  // The last pod that finished is kept, also beside the one that runs: its logs are the guest's last words, and it
  // is the record of how it ended should the status be lost. A fence is no such record: it goes with the taint.
  const erase = (run: Run) => run.deleting || run !== last || run.end?.result === 'Fenced';
  reap(world, all, (run) => (run.task ? !off.keep.includes(run) : erase(run)), plan);

  const plugging = alive?.own && wish.on && !alive.deleting ? alive : undefined;
  const hotplug = planHotplug(world, vm, {
    ...{ runs, alive: plugging, running, wanted, claims, resolved },
    taken: new Set(takenIn(plan.actions)),
  });
  plan.actions.push(...hotplug.actions);
  plan.afterStatus.push(...hotplug.afterStatus);
  if (plugging && running) {
    const live = planLive(world, plugging.pod, running, wanted, hotplug);
    plan.actions.push(...live.actions);
    plan.after = earliest([plan.after, live.after]);
    running = live.machine;
  }

  const growth = planGrowth(world, vm);
  for (const each of growth.grow) plan.actions.push({ type: 'GrowClaim', ...each });
  const grown = grownClaims(world, vm);
  if (
    alive?.own &&
    !alive.deleting &&
    grown !== undefined &&
    alive.pod.metadata.annotations?.[ANNOTATION.grown] !== grown
  )
    plan.actions.push({ type: 'TouchPod', pod: alive.pod, grown });

  const stage = stageOf(world, vm, alive, wish, wait);
  for (const each of operations.commands) {
    if (alive) plan.actions.push({ type: 'Command', podUID: alive.pod.metadata.uid, ...each });
  }
  for (const each of restores.updates) plan.afterStatus.push({ type: 'UpdateRestore', ...each });
  for (const each of operations.updates) plan.afterStatus.push({ type: 'UpdateOperation', ...each });
  for (const operation of operations.expired) plan.afterStatus.push({ type: 'DeleteOperation', operation });
  plan.decision = {
    vm,
    runs,
    tasks: all.filter(({ task }) => task),
    alive,
    wish,
    power: operations.power,
    lastRun,
    crashLoop,
    claims,
    attachments: hotplug.states,
    growth: growth.waits,
    running,
    wanted,
    resolved,
    stage,
    wait: wait ?? stage.wait,
  };
  const again = operations.commands.length > 0 ? COMMAND_AGAIN : undefined;
  plan.after = earliest([
    plan.after,
    hotplug.after,
    operations.expiresIn,
    stage.after,
    growth.after,
    off.after,
    again,
  ]);
  return plan;
}

/** Milliseconds until a clone that is being made is looked at again. */
const CLONE_AGAIN = 2_000;
/** UID of no object: Kubernetes deletes what such a one owns. */
const NOBODY = '00000000-0000-4000-8000-000000000000';

/** Lets go of images that were cloned, and of clones that the storage does not make. */
function planClones(
  vm: VirtualMachine,
  { clones, refused, discard }: ClaimsPlan,
  runs: readonly Run[],
  plan: Plan,
): void {
  for (const { claim, base, made } of clones) {
    if (!made) {
      plan.after = earliest([plan.after, CLONE_AGAIN]);
      continue;
    }
    plan.actions.push({ type: 'LetGoOfBase', claim });
    const owners = ownersWithout(base, claim);
    if (owners) plan.actions.push({ type: 'SetClaimOwner', claim: base, owners });
  }
  for (const { base, words } of refused) plan.actions.push({ type: 'RefuseClone', claim: base, words });
  if (discard.length === 0) return;
  // No guest has run with a claim that has no volume; a pod that waits for it would keep the claim.
  for (const run of runs) endRun(run, undefined, plan);
  if (runs.some((run) => !run.end)) return;
  for (const claim of discard) {
    if (claim.metadata.ownerReferences?.[0]?.uid === NOBODY) continue;
    const { apiVersion, kind, metadata } = vm;
    const nobody = { apiVersion, kind, name: metadata.name, uid: NOBODY };
    plan.actions.push({ type: 'SetClaimOwner', claim, owners: [nobody] });
  }
}

/** Gives the guest of a run that is not over the power button. */
function endRun(run: Run, graceSeconds: number | undefined, plan: Plan): void {
  if (run.end) return;
  const deadline = run.pod.metadata.deletionGracePeriodSeconds;
  // A second delete with a shorter grace is how a force follows a patient stop.
  if (run.deleting && (graceSeconds === undefined || (deadline ?? 0) <= graceSeconds)) return;
  plan.actions.push({ type: 'DeletePod', pod: run.pod, graceSeconds });
}

/** Lets go of what runs that are proved to be over still hold. */
function reap(world: World, runs: readonly Run[], erase: (run: Run) => boolean, plan: Plan): void {
  for (const run of runs) {
    if (!run.end) continue;
    const taken = new Set(
      plan.actions.flatMap((action) => (action.type === 'TakeLease' ? [action.lease.metadata.name] : [])),
    );
    for (const lease of world.ownLeases) {
      const holder = run.pod.metadata.name;
      if (holdersOf(lease).includes(holder) && !taken.has(lease.metadata.name))
        release(plan, lease, [holder]);
    }
    if (!erase(run)) continue;
    if (!run.deleting) plan.afterStatus.push({ type: 'DeletePod', pod: run.pod, graceSeconds: undefined });
    if (run.pod.metadata.finalizers?.includes(LAUNCHER_FINALIZER)) {
      plan.afterStatus.push({ type: 'DropFinalizer', pod: run.pod });
    }
  }
}

/** Gives a lease back: in one write, for all holders that do. */
function release(plan: Plan, lease: Lease, holders: readonly string[]): void {
  const same = plan.afterStatus.findIndex((each) => each.type === 'ReleaseLease' && each.lease === lease);
  const before = plan.afterStatus[same];
  if (before?.type !== 'ReleaseLease') plan.afterStatus.push({ type: 'ReleaseLease', lease, holders });
  else plan.afterStatus[same] = { ...before, holders: [...before.holders, ...holders] };
}

/** Leases, and those of their holders from this VM that have no pod. */
function unheld(world: World, runs: readonly Run[]): [Lease, string[]][] {
  const pods = new Set([...runs.map(({ pod }) => pod), ...world.attachments].map((pod) => pod.metadata.name));
  return world.ownLeases.map((lease) => {
    const own = holdersOf(lease).filter(
      (holder) => useOf(lease) === 'Exclusive' || vmOfLauncher(holder) === world.name,
    );
    return [lease, own.filter((holder) => !pods.has(holder))];
  });
}

/** Leases of a VM that is gone, and those of their holders that never came to be. */
function abandoned(world: World, runs: readonly Run[]): [Lease, string[]][] {
  return unheld(world, runs).flatMap(([lease, holders]): [Lease, string[]][] => {
    const orphans = holders.filter((holder) => world.orphanLeases.has(holderKey(lease, holder)));
    return orphans.length > 0 && leaseAge(lease, world.now) > ORPHAN_AFTER ? [[lease, orphans]] : [];
  });
}

/** Milliseconds until more of them are; nothing but time will tell. */
function abandonedIn(world: World, runs: readonly Run[]): number[] {
  return unheld(world, runs)
    .filter(([, holders]) => holders.length > 0)
    .map(([lease]) => ORPHAN_AFTER - leaseAge(lease, world.now))
    .filter((left) => left >= 0);
}

/** What runs is what stays pinned, also where the status was lost. */
function withRunningMachine(
  status: VirtualMachineStatus | undefined,
  running: MachineDescription | undefined,
): VirtualMachineStatus | undefined {
  if (!running) return status;
  return { ...status, resolved: { ...status?.resolved, machineType: running.machineType } };
}

function situationOf(
  world: World,
  vm: VirtualMachine,
  alive: Run | undefined,
  power: Power,
  highest: number,
  running: MachineDescription | undefined,
): Situation {
  const stage = stageOf(world, vm, alive, { on: true, reason: '', message: '' }, undefined);
  return {
    now: world.now,
    vm,
    power,
    highestIncarnation: Math.max(highest, running?.incarnation ?? 0),
    alive: alive && {
      incarnation: alive.incarnation,
      state: stage.state,
      results: world.contacts.get(alive.pod.metadata.uid)?.results ?? new Map(),
    },
    reason: stage.running.reason,
    waitingFor:
      stage.running.message ||
      vm.status?.conditions?.find((each) => each.type === 'Running')?.message ||
      'Waiting for the VM to start.',
  };
}

function restoreSituationOf(
  world: World,
  vm: VirtualMachine,
  runs: readonly Run[],
  alive: Run | undefined,
  running: MachineDescription | undefined,
): RestoreSituation {
  const last = runs.filter((run) => run.own && run.end).at(-1);
  return {
    now: world.now,
    vm,
    alive: alive && {
      incarnation: alive.incarnation,
      machine: running,
      report: world.contacts.get(alive.pod.metadata.uid)?.report,
    },
    last: last?.end && {
      incarnation: last.incarnation,
      result: last.end.result,
      message: last.end.message,
      machine: descriptionOf(last.pod),
    },
    snapshots: world.snapshots,
  };
}

export function earliest(times: readonly (number | undefined)[]): number | undefined {
  const given = times.filter((each): each is number => each !== undefined);
  return given.length > 0 ? Math.min(...given) : undefined;
}
