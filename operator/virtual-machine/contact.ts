/** What is known of a launcher by its channel, and since when it should have been heard. Pure. */
import { HEARTBEAT_DEADLINE } from '../../crds/channel.ts';
import type { Pod } from '../kube/resources.ts';
import type { LauncherContact } from './world.ts';

/** Milliseconds that a launcher has to dial after its container started, or a connection was lost. */
const DIAL_GRACE = 20_000;
/** Milliseconds in which the launchers of a leader that is gone find the new one. */
const FIND_GRACE = 5_000;
/** Milliseconds that a new leader waits for launchers that may still talk to one that hangs: until they notice. */
const HANDOVER_GRACE = HEARTBEAT_DEADLINE + 5_000;

/** Whether what the launcher said last still holds. */
export function isHeard(contact: LauncherContact | undefined, now: number): contact is LauncherContact {
  return contact?.connected === true && now - contact.lastHeardAt < HEARTBEAT_DEADLINE;
}

/** When a launcher's container started, in milliseconds since the epoch; nothing while it does not run. */
export function launcherStartedAt(pod: Pod): number | undefined {
  const state = pod.status?.containerStatuses?.find((each) => each.name === 'launcher')?.state;
  return state?.running && Date.parse(state.running.startedAt ?? '');
}

/** When a launcher that is not heard is missed, so that it is time to look at its node. */
export function missedFrom(
  startedAt: number,
  listeningSince: number,
  contact: LauncherContact | undefined,
): number {
  return Math.max(lostFrom(startedAt, contact), listeningSince + FIND_GRACE);
}

/** When it is certain that a launcher that is not heard cannot reach us, if its node is well. */
export function unreachableFrom(
  startedAt: number,
  listeningSince: number,
  contact: LauncherContact | undefined,
): number {
  return Math.max(lostFrom(startedAt, contact), listeningSince + HANDOVER_GRACE);
}

const lostFrom = (startedAt: number, contact: LauncherContact | undefined): number =>
  Math.max(startedAt, contact?.lastHeardAt ?? 0) + DIAL_GRACE;
