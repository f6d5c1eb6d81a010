/** Leases whose holder has no pod: by the API server's own word. */
import type { KubeClient } from '../kube/client.ts';
import { orNotFound } from '../kube/errors.ts';
import { type Lease, pods } from '../kube/resources.ts';
import { leaseAge, ORPHAN_AFTER } from './claim-lease.ts';

/**
 * A cache may lag behind; that a holder has no pod is only believed of the API server itself.
 * @param cached whether a cache has the pod `namespace/name`
 */
export async function orphanLeases(
  client: KubeClient,
  cached: (pod: string) => boolean,
  leases: readonly Lease[],
  now: number,
): Promise<Set<string>> {
  const orphaned = new Set<string>();
  for (const lease of leases) {
    const { namespace, name } = lease.metadata;
    const holder = lease.spec?.holderIdentity;
    if (holder === undefined || namespace === undefined) continue;
    if (cached(`${namespace}/${holder}`) || leaseAge(lease, now) < ORPHAN_AFTER) continue;
    if ((await orNotFound(client.get(pods, { namespace, name: holder }))) === undefined) orphaned.add(name);
  }
  return orphaned;
}
