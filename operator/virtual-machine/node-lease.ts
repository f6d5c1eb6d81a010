/**
 * The kubelet's own sign of life: a Lease that it renews four times in its duration, by default every 10 of 40 s. The
 * Ready condition of a silent node turns Unknown much later (50 s and more), and the launchers of a node that is gone
 * are missed before that.
 * Source: https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
 */
import type { KubeClient } from '../kube/client.ts';
import { isForbidden, orNotFound } from '../kube/errors.ts';
import { type Lease, leases } from '../kube/resources.ts';

const NAMESPACE = 'kube-node-lease';
/** Two renewals are missed, and half the time to the third has passed. */
const MISSED = 2.5 / 4;

/** Since when a kubelet has not renewed its lease (RFC 3339, whole seconds); nothing while it does. */
export function silentSince(lease: Lease, now: number): string | undefined {
  const renewedAt = Date.parse(lease.spec?.renewTime ?? '');
  const durationMs = (lease.spec?.leaseDurationSeconds ?? 40) * 1000;
  if (Number.isNaN(renewedAt) || now - renewedAt < durationMs * MISSED) return undefined;
  return new Date(renewedAt).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Looks at the lease of a node; nothing is known of one without a lease, or where we may not read it. */
export async function nodeSilentSince(
  client: KubeClient,
  node: string,
  now: number,
): Promise<string | undefined> {
  try {
    const lease = await orNotFound(client.get(leases, { namespace: NAMESPACE, name: node }));
    return lease && silentSince(lease, now);
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}
