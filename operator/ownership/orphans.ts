/** Holders of leases that have no pod: by the API server's own word. */
import type { KubeClient } from '../kube/client.ts';
import { orNotFound } from '../kube/errors.ts';
import { type Lease, pods } from '../kube/resources.ts';
import { launcherOfHolder } from '../virtual-machine/attachments.ts';
import { holderKey, holdersOf, leaseAge, ORPHAN_AFTER } from './claim-lease.ts';
import { endOfRun } from './proof-of-end.ts';

/** Keys of holders, see {@link holderKey}. */
export interface Podless {
  /** They have no pod, but it may be that the guest of a launcher that runs still has their disk. */
  podlessHolders: Set<string>;
  /** They have no pod, and nobody has their disk. */
  orphanLeases: Set<string>;
}

/**
 * A cache may lag behind; that a holder has no pod is only believed of the API server itself.
 * @param cached whether a cache has the pod `namespace/name`
 */
export async function podless(
  client: KubeClient,
  cached: (pod: string) => boolean,
  leases: readonly Lease[],
  now: number,
): Promise<Podless> {
  const found: Podless = { podlessHolders: new Set(), orphanLeases: new Set() };
  for (const lease of leases) {
    const { namespace } = lease.metadata;
    if (namespace === undefined || leaseAge(lease, now) < ORPHAN_AFTER) continue;
    for (const holder of holdersOf(lease)) {
      if (cached(`${namespace}/${holder}`)) continue;
      const pod = await orNotFound(client.get(pods, { namespace, name: holder }));
      if (pod !== undefined) continue;
      found.podlessHolders.add(holderKey(lease, holder));
      if (!(await servesLauncher(client, namespace, holder, now)))
        found.orphanLeases.add(holderKey(lease, holder));
    }
  }
  return found;
}

/**
 * The guest of a launcher that runs still has the disk of an attachment pod that is gone, until another one is made in
 * its place: nobody else may write to the claim meanwhile.
 */
async function servesLauncher(
  client: KubeClient,
  namespace: string,
  holder: string,
  now: number,
): Promise<boolean> {
  const name = launcherOfHolder(holder);
  const launcher = name && (await orNotFound(client.get(pods, { namespace, name })));
  return launcher ? endOfRun(launcher, undefined, now) === undefined : false;
}
