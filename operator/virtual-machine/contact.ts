/** What is known of a launcher by its channel, and since when it should have been heard. Pure. */
import { HEARTBEAT_DEADLINE } from '../../crds/channel.ts';
import type { Pod } from '../kube/resources.ts';
import type { LauncherContact } from './world.ts';

/** Milliseconds that a launcher has to dial after its container or the operator started. */
const DIAL_GRACE = 20_000;

/** Whether what the launcher said last still holds. */
export function isHeard(contact: LauncherContact | undefined, now: number): contact is LauncherContact {
  return contact?.connected === true && now - contact.lastHeardAt < HEARTBEAT_DEADLINE;
}

/** When a launcher's container started, in milliseconds since the epoch; nothing while it does not run. */
export function launcherStartedAt(pod: Pod): number | undefined {
  const state = pod.status?.containerStatuses?.find((each) => each.name === 'launcher')?.state;
  return state?.running && Date.parse(state.running.startedAt ?? '');
}

/** Until when a launcher that is not heard may yet dial without anything being wrong. */
export function dialsUntil(
  startedAt: number,
  listeningSince: number,
  contact: LauncherContact | undefined,
): number {
  return Math.max(startedAt, listeningSince, contact?.lastHeardAt ?? 0) + DIAL_GRACE;
}
