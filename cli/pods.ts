/** The launcher pods of a VM. */
import { LABEL } from '../crds/api.ts';
import { controllerUid } from '../operator/kube/object.ts';
import { type Pod, pods } from '../operator/kube/resources.ts';
import type { StoredVirtualMachine } from '../operator/virtual-machine/resources.ts';
import type { Cluster } from './cluster.ts';

/** Name of the container that holds the launcher, and with it QEMU. */
export const CONTAINER = 'launcher';

/** Newest life first. Anybody may write a label, so the owner decides. */
export async function launcherPods(
  { client, namespace }: Cluster,
  vm: StoredVirtualMachine,
): Promise<readonly Pod[]> {
  const list = await client.list(pods, { namespace, labelSelector: `${LABEL.vm}=${vm.metadata.name}` });
  return list
    .filter((pod) => controllerUid(pod) === vm.metadata.uid)
    .sort((a, b) => incarnationOf(b) - incarnationOf(a));
}

export function incarnationOf(pod: Pod): number {
  return Number(pod.metadata.labels?.[LABEL.incarnation] ?? 0);
}

/** Whether the launcher's container runs now, has ended, or was not started yet. */
export function containerState(pod: Pod): 'waiting' | 'running' | 'ended' {
  const state = pod.status?.containerStatuses?.find((each) => each.name === CONTAINER)?.state;
  if (state?.running !== undefined) return 'running';
  return state?.terminated !== undefined ? 'ended' : 'waiting';
}
