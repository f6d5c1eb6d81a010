/** The start of a VM's next life: its claims, their leases, its pod, or what has to come first. Pure. */
import { LABEL } from '../../crds/api.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { Lease, PersistentVolumeClaim } from '../kube/resources.ts';
import {
  type ClaimUse,
  draftCommonLease,
  draftLease,
  holderKey,
  holdersOf,
  leaseAge,
  ORPHAN_AFTER,
  useOf,
  vmOfLauncher,
  vmsOfLease,
} from '../ownership/claim-lease.ts';
import type { Action, Steps } from './action.ts';
import { attachmentsOf } from './attachments.ts';
import { type ClaimsPlan, diskClaims } from './claims.ts';
import { layersPod } from './layers-pod.ts';
import { podName } from './names.ts';
import { launcherPod } from './pod.ts';
import type { CrashLoop } from './power.ts';
import type { Resolved } from './resolve.ts';
import type { Run } from './runs.ts';
import type { Wait } from './waiting.ts';
import type { World } from './world.ts';

interface Start {
  claims: ClaimsPlan;
  crashLoop: CrashLoop | undefined;
  wanted: MachineDescription;
  resolved: Resolved;
  runs: readonly Run[];
}

/** Takes the claims and creates the pod, or says what has to come first. */
export function start(world: World, vm: VirtualMachine, input: Start, plan: Steps): Wait | undefined {
  const { claims, crashLoop, wanted } = input;
  const attached = attachmentsOf(world).find(({ end }) => !end);
  if (attached) {
    return {
      reason: 'DetachingDisks',
      message: `Waiting for pod ${attached.pod.metadata.name}, through which the life before this one had disk ${attached.disk}, to end.`,
    };
  }
  const problem = claims.problems[0];
  if (problem) return problem;
  const left = crashLoop ? Date.parse(crashLoop.retryAt) - world.now : 0;
  if (crashLoop && left > 0) {
    plan.after = left;
    return {
      reason: 'CrashLoopBackOff',
      message: `It failed ${crashLoop.failures} times in a row; the next start is at ${crashLoop.retryAt}. Last: ${vm.status?.lastRun?.message ?? ''}`,
    };
  }
  if (claims.create.length > 0) {
    return {
      reason: 'CreatingClaims',
      message: `Making ${claims.create.map((claim) => `PersistentVolumeClaim ${claim.metadata.name}`).join(', ')}.`,
    };
  }
  const holder = podName(world.name, wanted.incarnation);
  const taking: Action[] = [];
  for (const { disk, claim, use } of claims.usable) {
    const lease = world.leases.get(claim.metadata.uid);
    const same = lease !== undefined && useOf(lease) === use;
    const holders = lease ? holdersOf(lease) : [];
    if (same && holders.includes(holder)) continue;
    const left = holders.filter((each) => lease && !isOver(world, lease, each, input.runs));
    // Others may stay where all use the claim in a way that allows it; an older life of this VM may not.
    const inTheWay = left.find((each) => !same || use === 'Exclusive' || vmOfLauncher(each) === world.name);
    if (lease && inTheWay !== undefined) {
      plan.after = ORPHAN_AFTER;
      return claimInUse(claim, disk, use, lease, inTheWay);
    }
    const draft =
      use === 'Exclusive'
        ? draftLease(claim, { [LABEL.vm]: world.name }, holder, world.now)
        : draftCommonLease(claim, use, [...left, holder], world.now);
    taking.push({ type: 'TakeLease', lease: draft, replaces: lease });
  }
  plan.actions.push(...taking, {
    type: 'CreatePod',
    pod: (wanted.task === undefined ? launcherPod : layersPod)({
      vm,
      namespace: world.namespace,
      description: wanted,
      resolved: input.resolved,
      claims: diskClaims(claims),
      image: world.defaults.launcherImage,
      imagePullPolicy: world.defaults.launcherImagePullPolicy,
    }),
  });
  return undefined;
}

/** What is in the way of a claim, and what to do about it. */
function claimInUse(
  claim: PersistentVolumeClaim,
  disk: string,
  use: ClaimUse,
  lease: Lease,
  holder: string,
): Wait {
  const what = `PersistentVolumeClaim ${claim.metadata.name} of disk ${disk}`;
  const { [LABEL.image]: image, [LABEL.vm]: vm = vmOfLauncher(holder) } = lease.metadata.labels ?? {};
  if (image !== undefined) {
    return {
      reason: 'ClaimInUse',
      message: `${what} is being copied into VirtualMachineImage ${image} (pod ${holder}); the VM starts when that is done.`,
    };
  }
  const theirs = useOf(lease);
  const how = { Exclusive: 'used', Shared: 'shared', ReadOnly: 'read' }[theirs];
  const together =
    theirs === 'Exclusive' && use === 'Exclusive'
      ? ''
      : ' Several VMs may have one claim when the disk is shareable in all of them, or ephemeral in all of them.';
  return {
    reason: 'ClaimInUse',
    message: `${what} is ${how} by VirtualMachine ${vm || 'unknown'} (pod ${holder}); stop that VM, or give this one another claim.${together}`,
  };
}

/** Whether a lease's holder is proved to be over. */
function isOver(world: World, lease: Lease, holder: string, runs: readonly Run[]): boolean {
  // A pod that had a disk attached: all of them have ended when it comes to this.
  if (world.attachments.some((pod) => pod.metadata.name === holder)) return true;
  const run = runs.find((each) => each.pod.metadata.name === holder);
  if (run && vmsOfLease(lease).includes(world.name)) return run.end !== undefined;
  return world.orphanLeases.has(holderKey(lease, holder)) && leaseAge(lease, world.now) > ORPHAN_AFTER;
}

/**
 * The number of the next life. An operator that died between taking the claims and creating the pod left
 * leases with a number that no pod has: that start is the one to finish.
 */
export function nextIncarnation(world: World, runs: readonly Run[], highest: number): number {
  const unused =
    highest > 0 &&
    !runs.some((run) => run.incarnation === highest) &&
    world.ownLeases.some((lease) => holdersOf(lease).includes(podName(world.name, highest))) &&
    (world.vm?.status?.launcher?.incarnation ?? 0) < highest &&
    (world.vm?.status?.lastRun?.incarnation ?? 0) < highest;
  return unused ? highest : highest + 1;
}
