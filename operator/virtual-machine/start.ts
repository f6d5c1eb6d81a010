/** The start of a VM's next life: its claims, their leases, its pod, or what has to come first. Pure. */
import { LABEL } from '../../crds/api.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { Lease } from '../kube/resources.ts';
import { draftLease, leaseAge, ORPHAN_AFTER } from '../ownership/claim-lease.ts';
import { type ClaimsPlan, diskClaims } from './claims.ts';
import { layersPod } from './layers-pod.ts';
import { podName } from './names.ts';
import type { Action, Plan } from './plan.ts';
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
export function start(world: World, vm: VirtualMachine, input: Start, plan: Plan): Wait | undefined {
  const { claims, crashLoop, wanted } = input;
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
  for (const { disk, claim } of claims.usable) {
    const lease = world.leases.get(claim.metadata.uid);
    const held = lease?.spec?.holderIdentity;
    if (held === holder) continue;
    if (lease && held !== undefined && !mayReplace(world, lease, input.runs)) {
      const { [LABEL.vm]: owner = 'unknown', [LABEL.image]: image } = lease.metadata.labels ?? {};
      plan.after = ORPHAN_AFTER;
      if (image !== undefined) {
        return {
          reason: 'ClaimInUse',
          message: `PersistentVolumeClaim ${claim.metadata.name} of disk ${disk} is being copied into VirtualMachineImage ${image} (pod ${held}); the VM starts when that is done.`,
        };
      }
      return {
        reason: 'ClaimInUse',
        message: `PersistentVolumeClaim ${claim.metadata.name} of disk ${disk} is used by VirtualMachine ${owner} (pod ${held}); stop that VM, or give this one another claim.`,
      };
    }
    taking.push({
      type: 'TakeLease',
      lease: draftLease(claim, { [LABEL.vm]: world.name }, holder, world.now),
      replaces: lease,
    });
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

/** Whether the lease's holder is proved to be over. */
function mayReplace(world: World, lease: Lease, runs: readonly Run[]): boolean {
  const holder = lease.spec?.holderIdentity;
  const run = runs.find((each) => each.pod.metadata.name === holder);
  if (run && lease.metadata.labels?.[LABEL.vm] === world.name) return run.end !== undefined;
  return world.orphanLeases.has(lease.metadata.name) && leaseAge(lease, world.now) > ORPHAN_AFTER;
}

/**
 * The number of the next life. An operator that died between taking the claims and creating the pod left
 * leases with a number that no pod has: that start is the one to finish.
 */
export function nextIncarnation(world: World, runs: readonly Run[], highest: number): number {
  const unused =
    highest > 0 &&
    !runs.some((run) => run.incarnation === highest) &&
    world.ownLeases.some((lease) => lease.spec?.holderIdentity === podName(world.name, highest)) &&
    (world.vm?.status?.launcher?.incarnation ?? 0) < highest &&
    (world.vm?.status?.lastRun?.incarnation ?? 0) < highest;
  return unused ? highest : highest + 1;
}
