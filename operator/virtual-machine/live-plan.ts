/** How a running machine is brought to what its spec says now: written down first, then told. Pure. */
import { LIVE_FEATURE } from '../../crds/channel.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { Pod } from '../kube/resources.ts';
import type { Action } from './action.ts';
import { isHeard } from './contact.ts';
import { isAttached, liveMachine, type Plugged } from './live.ts';
import type { World } from './world.ts';

/** Milliseconds until a launcher that has not said that it knows is told again. */
const TELL_AGAIN = 5_000;

interface LivePlan {
  actions: Action[];
  /** What the running machine is, or is about to be. */
  machine: MachineDescription;
  after: number | undefined;
}

/** A launcher that cannot be reached, or is of an earlier version, keeps its machine as it is. */
export function planLive(
  world: World,
  pod: Pod,
  running: MachineDescription,
  wanted: MachineDescription,
  plugged: Plugged,
): LivePlan {
  const none: LivePlan = { actions: [], machine: running, after: undefined };
  const contact = world.contacts.get(pod.metadata.uid);
  if (!isHeard(contact, world.now) || !contact.features.includes(LIVE_FEATURE)) return none;
  const machine = liveMachine(running, wanted, plugged);
  if (machine !== running) {
    return { actions: [{ type: 'ChangeMachine', pod, machine }], machine, after: TELL_AGAIN };
  }
  // A key is in no object: a launcher that lost one, or never got it, is told again until the guest has the disk.
  const { disks: told = [], revision = 0 } = contact.report ?? {};
  const lacks = running.disks.some(
    (disk) =>
      isAttached(disk) &&
      !disk.unplugged &&
      told.find(({ name }) => name === disk.name)?.capacityBytes === undefined,
  );
  if (revision >= (running.revision ?? 0) && !lacks) return none;
  return {
    actions: [{ type: 'TellMachine', podUID: pod.metadata.uid, machine }],
    machine,
    after: TELL_AGAIN,
  };
}
