/** The VM's launcher pods as runs: one incarnation each, over or not. */
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { type MachineDescription, machineDescription } from '../../crds/machine-description.ts';
import { controllerUid } from '../kube/object.ts';
import type { Node, Pod } from '../kube/resources.ts';
import { holdersOf } from '../ownership/claim-lease.ts';
import { type EndOfRun, endOfRun } from '../ownership/proof-of-end.ts';
import { isHeard } from './contact.ts';
import { podName } from './names.ts';
import type { World } from './world.ts';

export interface Run {
  pod: Pod;
  incarnation: number;
  /** Of this very VM object, not of an older one with its name. */
  own: boolean;
  deleting: boolean;
  /** No life of the VM, but a pod that does something about its disks while it is off. */
  task: boolean;
  /** Absent: it may still run. */
  end: EndOfRun | undefined;
}

/** All runs that still have a pod object, oldest first. */
export function runsOf(world: World): Run[] {
  const nodes = new Map(world.nodes.map((node) => [node.metadata.name, node]));
  return world.pods
    .map((pod) => ({
      pod,
      incarnation: Number(pod.metadata.labels?.[LABEL.incarnation] ?? '0'),
      own: world.vm !== undefined && controllerUid(pod) === world.vm.metadata.uid,
      deleting: pod.metadata.deletionTimestamp !== undefined,
      task: pod.metadata.labels?.[LABEL.task] !== undefined,
      end: endOf(world, pod, nodes.get(pod.spec?.nodeName ?? '')),
    }))
    .sort((a, b) => a.incarnation - b.incarnation);
}

/**
 * A kubelet that starts again judges anew whether it takes the pods that it has, and writes a refusal over all that
 * the pod's status said: after a restart of the node, for instance, where the device for KVM is not offered yet. Where
 * only the kubelet was restarted it kills what still runs of the pod a moment later, so that a launcher that is still
 * heard has not ended.
 */
function endOf(world: World, pod: Pod, node: Node | undefined): EndOfRun | undefined {
  const end = endOfRun(pod, node, world.now);
  if (end?.result !== 'Rejected') return end;
  const { uid } = pod.metadata;
  if (isHeard(world.contacts.get(uid), world.now)) return undefined;
  const status = world.vm?.status;
  const ran = status?.launcher?.podUID === uid && status.startup?.machineReadyAt !== undefined;
  return ran ? { ...end, result: 'NodeRestarted' } : end;
}

/** The highest incarnation that anything still knows of: pods, leases, the status. */
export function highestIncarnation(world: World, runs: readonly Run[]): number {
  const status = world.vm?.status;
  return Math.max(
    0,
    ...runs.map((run) => run.incarnation),
    ...world.ownLeases.flatMap(holdersOf).map((holder) => incarnationOfHolder(world.name, holder)),
    status?.launcher?.incarnation ?? 0,
    status?.lastRun?.incarnation ?? 0,
  );
}

/** The incarnation in a lease's holder, or 0 where the holder is no launcher of this VM. */
function incarnationOfHolder(vm: string, holder: string): number {
  const incarnation = Number(holder.slice(podName(vm, 0).length - 1));
  return Number.isInteger(incarnation) && incarnation > 0 && holder === podName(vm, incarnation)
    ? incarnation
    : 0;
}

/** The machine that a launcher pod was made with. */
export function descriptionOf(pod: Pod): MachineDescription | undefined {
  const json = pod.metadata.annotations?.[ANNOTATION.machine];
  if (json === undefined) return undefined;
  try {
    return machineDescription.safeParse(JSON.parse(json)).data;
  } catch {
    return undefined;
  }
}
