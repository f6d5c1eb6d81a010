/** How attachment pods end, and what they held is let go of: on proof of their end only. Pure. */
import { LAUNCHER_FINALIZER } from '../../crds/api.ts';
import { holderKey, holdersOf, leaseAge, ORPHAN_AFTER } from '../ownership/claim-lease.ts';
import type { Action } from './action.ts';
import { type Attachment, attachmentsOf, launcherOfHolder } from './attachments.ts';
import type { Run } from './runs.ts';
import type { World } from './world.ts';

/** The part of a plan that this writes to. */
export interface EndsPlan {
  actions: Action[];
  afterStatus: Action[];
}

/** Of a VM that is gone: each of its pods that were attached ends after the launcher that it serves. */
export function endOrphaned(
  world: World,
  runs: readonly Run[],
  plan: EndsPlan,
  taken: ReadonlySet<string> = new Set(),
): void {
  const living = new Set(runs.filter(({ end }) => !end).map(({ pod }) => pod.metadata.uid));
  const orphaned = attachmentsOf(world).filter(({ launcher }) => !living.has(launcher ?? ''));
  endAttachments(world, orphaned, plan, taken);
}

/** Ends the pods, lets go of what those that have ended hold, and then of themselves. */
export function endAttachments(
  world: World,
  attachments: readonly Attachment[],
  plan: EndsPlan,
  taken: ReadonlySet<string> = new Set(),
): void {
  for (const each of attachments) {
    if (!each.end) {
      if (!each.deleting) plan.actions.push({ type: 'DeletePod', pod: each.pod, graceSeconds: undefined });
      continue;
    }
    for (const lease of world.ownLeases) {
      const holder = each.pod.metadata.name;
      if (!taken.has(lease.metadata.name) && holdersOf(lease).includes(holder))
        plan.afterStatus.push({ type: 'ReleaseLease', lease, holders: [holder] });
    }
    erase(each, plan);
  }
}

/** Names of the leases that a plan takes, and so must not give back. */
export const takenIn = (actions: readonly Action[]): string[] =>
  actions.flatMap((each) => (each.type === 'TakeLease' ? [each.lease.metadata.name ?? ''] : []));

/**
 * Leases for pods that an operator meant to make and died before; what is still wanted takes its own over.
 *
 * @param nobodyHas whether it is known of a holder that no guest has its disk, so that no pod of its name is enough
 */
export function releaseAbandoned(
  world: World,
  attachments: readonly Attachment[],
  unwanted: (holder: string) => boolean,
  plan: EndsPlan & { after: number | undefined },
  others: ReadonlySet<string>,
  nobodyHas: (holder: string) => boolean = () => false,
): void {
  const pods = new Set(attachments.map(({ pod }) => pod.metadata.name));
  const taken = new Set([...others, ...takenIn(plan.actions)]);
  for (const lease of world.ownLeases) {
    const [holder = ''] = holdersOf(lease);
    if (launcherOfHolder(holder) === undefined || pods.has(holder) || taken.has(lease.metadata.name))
      continue;
    if (!unwanted(holder)) continue;
    const left = ORPHAN_AFTER - leaseAge(lease, world.now);
    if (left >= 0) plan.after = Math.min(plan.after ?? left, left + 1);
    else if ((nobodyHas(holder) ? world.podlessHolders : world.orphanLeases).has(holderKey(lease, holder)))
      plan.afterStatus.push({ type: 'ReleaseLease', lease, holders: [holder] });
  }
}

/** Lets the object of a pod go that has ended. */
export function erase({ pod, deleting }: Attachment, plan: Pick<EndsPlan, 'afterStatus'>): void {
  if (!deleting) plan.afterStatus.push({ type: 'DeletePod', pod, graceSeconds: undefined });
  if (pod.metadata.finalizers?.includes(LAUNCHER_FINALIZER))
    plan.afterStatus.push({ type: 'DropFinalizer', pod });
}
