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

/** Milliseconds for which an answer is good: a node that falls silent is asked for once, not for each of its VMs. */
const FRESH = 2_000;

/** The leases of nodes, asked for one by one when there is reason to doubt a node. */
export class NodeLeases {
  readonly #client: KubeClient;
  readonly #asked = new Map<string, { at: number; lease: Promise<Lease | undefined> }>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Since when a node gives no sign of life; nothing is known of one without a lease, or where we may not read it. */
  async silentSince(node: string, now: number): Promise<string | undefined> {
    let asked = this.#asked.get(node);
    if (asked === undefined || Math.abs(now - asked.at) > FRESH) {
      asked = { at: now, lease: this.#get(node) };
      this.#asked.set(node, asked);
    }
    const lease = await asked.lease;
    return lease && silentSince(lease, now);
  }

  async #get(name: string): Promise<Lease | undefined> {
    try {
      return await orNotFound(this.#client.get(leases, { namespace: NAMESPACE, name }));
    } catch (error) {
      if (isForbidden(error)) return undefined;
      this.#asked.delete(name);
      throw error;
    }
  }
}
