/** The writes that ownership stands on, each conditional on what was decided from: the same for launchers and movers. */
import { LAUNCHER_FINALIZER } from '../../crds/api.ts';
import type { KubeClient } from '../kube/client.ts';
import { orNotFound } from '../kube/errors.ts';
import type { Draft } from '../kube/object.ts';
import { type Lease, leases, type Pod, pods } from '../kube/resources.ts';
import { holdersOf, leaseWithout } from './claim-lease.ts';

/** Takes a claim's lease by compare-and-swap; throws ApiError (Conflict, AlreadyExists) when somebody was quicker. */
export async function takeLease(
  client: KubeClient,
  lease: Draft<Lease>,
  replaces: Lease | undefined,
): Promise<Lease> {
  if (!replaces) return await client.create(leases, lease);
  const { resourceVersion, uid } = replaces.metadata;
  return await client.replace(leases, { ...lease, metadata: { ...lease.metadata, resourceVersion, uid } });
}

/**
 * Gives a lease back as it was read; one that is gone already is no error.
 * @param holders who gives it back; the others keep it
 */
export async function releaseLease(
  client: KubeClient,
  lease: Lease,
  holders: readonly string[] = holdersOf(lease),
): Promise<void> {
  const { namespace, name, uid, resourceVersion } = lease.metadata;
  const left = leaseWithout(lease, holders);
  if (left) await orNotFound(client.replace(leases, left));
  else await orNotFound(client.delete(leases, { namespace, name }, { uid, resourceVersion }));
}

/** Takes our finalizer off a pod whose end is proved. */
export async function dropFinalizer(client: KubeClient, pod: Pod): Promise<void> {
  // The whole list is written: the version keeps a finalizer that somebody added since.
  const { namespace, name, uid, resourceVersion, finalizers } = pod.metadata;
  const rest = finalizers?.filter((each) => each !== LAUNCHER_FINALIZER) ?? [];
  await orNotFound(
    client.patch(pods, { namespace, name }, { metadata: { uid, resourceVersion, finalizers: rest } }),
  );
}
