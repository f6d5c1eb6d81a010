/**
 * Disks that come to a VM while it runs, and go: each through a pod of its own on the same node, which holds the
 * claim's lease in its own name. Pure. What is wanted is compared with what is there, so that an operator may die
 * between any two steps:
 *
 * plug: lease → pod → the pod exports → the machine is told where → the guest has it;
 * unplug: the machine is told → the guest has let go → pod ended, by the kubelet's word → lease.
 *
 * A lease is kept through every gap in which the guest still has the disk: what another VM wrote to the claim
 * meanwhile would meet a guest that remembers what was there.
 */
import { PLUG_FEATURE } from '../../crds/channel.ts';
import type { MachineDisk } from '../../crds/machine-description.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import { endOrphaned, releaseAbandoned } from './attachment-ends.ts';
import { attachmentName, attachmentsOf } from './attachments.ts';
import { isHeard } from './contact.ts';
import { isAttached } from './live.ts';
import { type HotplugInput, type HotplugPlan, PluggedDisk } from './plugged-disk.ts';
import type { World } from './world.ts';

export function planHotplug(world: World, vm: VirtualMachine, input: HotplugInput): HotplugPlan {
  const plan: HotplugPlan = {
    actions: [],
    afterStatus: [],
    reachable: new Map(),
    gone: new Set(),
    states: new Map(),
    after: undefined,
  };
  const all = attachmentsOf(world);
  const { alive, running, runs } = input;
  endOrphaned(world, runs, plan, input.taken);
  if (!alive || !running) {
    releaseAbandoned(world, all, () => true, plan, input.taken);
    return plan;
  }
  const own = all.filter(({ launcher }) => launcher === alive.pod.metadata.uid);
  const names = new Set([
    ...running.disks.filter(isAttached).map(({ name }) => name),
    ...own.map(({ disk }) => disk),
    ...pluggable(world, input),
  ]);
  for (const name of names) {
    new PluggedDisk(world, vm, input, alive, running, name, own, plan).plan();
  }
  const ours = attachmentName(alive.pod.metadata.name, '', 0).slice(0, -2);
  releaseAbandoned(
    world,
    all,
    (holder) => !holder.startsWith(ours) || ![...names].some((name) => holder.startsWith(`${ours}${name}.`)),
    plan,
    input.taken,
    // Of its own disks this launcher's machine tells which its guest has.
    (holder) => holder.startsWith(ours),
  );
  return plan;
}

/** Names of the disks of the spec that can come now; the others wait for the next start. */
function pluggable(world: World, { alive, running, wanted, claims }: HotplugInput): string[] {
  const contact = alive && world.contacts.get(alive.pod.metadata.uid);
  // A launcher that is not heard for a moment is no reason to call for a restart.
  const able = !isHeard(contact, world.now) || contact.features.includes(PLUG_FEATURE);
  if (!alive || !running || !able || alive.pod.spec?.nodeName === undefined) return [];
  const has = new Map(running.disks.map((disk) => [disk.name, disk]));
  const shared = new Set(claims.usable.flatMap(({ disk, use }) => (use === 'Exclusive' ? [] : [disk])));
  const attached = running.disks.filter((disk) => isAttached(disk) && !disk.unplugged).length;
  return wanted.disks
    .filter((disk) => {
      const there = has.get(disk.name);
      if (there && !(isAttached(there) && there.unplugged)) return false;
      return isPluggable(disk) && !shared.has(disk.name);
    })
    .slice(0, Math.max(0, running.hotplugPorts - attached))
    .map(({ name }) => name);
}

/** A disk in a claim, on the bus whose devices come and go. */
function isPluggable({ device, bus, backend }: MachineDisk): boolean {
  return device === 'disk' && bus === 'virtio' && (backend?.type === 'file' || backend?.type === 'block');
}
