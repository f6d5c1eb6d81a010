/** What of a running machine changes with its spec at once, and what waits for the next start. Pure. */
import { isDeepStrictEqual } from 'node:util';
import type { MachineDescription, MachineDisk } from '../../crds/machine-description.ts';

/** Where an attachment pod exports a disk. */
export type Reachable = Omit<AttachedBackend, 'type'>;
type AttachedBackend = Extract<NonNullable<MachineDisk['backend']>, { type: 'attached' }>;

/** Whether it came while the machine runs. */
export const isAttached = (disk: MachineDisk): disk is MachineDisk & { backend: AttachedBackend } =>
  disk.backend?.type === 'attached';

/** What is known of the disks that come and go. */
export interface Plugged {
  /** By name, the disks that are wanted and can be reached through an attachment pod now. */
  reachable: ReadonlyMap<string, Reachable>;
  /** Names of disks that were unplugged, and of which the machine has nothing any more. */
  gone: ReadonlySet<string>;
}

const NOTHING: Plugged = { reachable: new Map(), gone: new Set() };

/**
 * The machine that `running` becomes without a restart on its way to `wanted`; `running` itself where nothing
 * of it can be changed so. What is still different afterwards is what {@link pendingChanges} tells.
 */
export function liveMachine(
  running: MachineDescription,
  wanted: MachineDescription,
  plugged: Plugged = NOTHING,
): MachineDescription {
  const disks = running.disks.map((disk) => {
    const target = wanted.disks.find(({ name }) => name === disk.name);
    if (isAttached(disk)) return attachedDisk(disk, target, plugged.reachable.get(disk.name));
    return target === undefined ? disk : liveDisk(disk, target);
  });
  for (const target of wanted.disks) {
    const at = plugged.reachable.get(target.name);
    if (at === undefined || disks.some(({ name }) => name === target.name)) continue;
    const disk: MachineDisk = { ...target, backend: { type: 'attached', ...at } };
    // QEMU's names for a disk come from its place in the list: each keeps its own, and only one left empty is used again.
    const free = disks.findIndex((each) => each.unplugged && plugged.gone.has(each.name));
    if (free === -1) disks.push(disk);
    else disks[free] = disk;
  }
  if (isDeepStrictEqual(disks, running.disks)) return running;
  return { ...running, revision: (running.revision ?? 0) + 1, disks };
}

/** It stays what it was when it came, but for its limits and for the pod that it is reached through. */
function attachedDisk(
  running: MachineDisk & { backend: AttachedBackend },
  target: MachineDisk | undefined,
  at: Reachable | undefined,
): MachineDisk {
  if (target === undefined) return { ...running, unplugged: true };
  if (running.unplugged) return at ? { ...target, backend: { type: 'attached', ...at } } : running;
  const { limits: _, ...rest } = running;
  return {
    ...rest,
    ...(target.limits === undefined ? {} : { limits: target.limits }),
    backend: at ? { type: 'attached', ...at } : running.backend,
  };
}

function liveDisk(running: MachineDisk, wanted: MachineDisk): MachineDisk {
  const { limits: _, ...rest } = running;
  const next: MachineDisk = { ...rest, ...(wanted.limits === undefined ? {} : { limits: wanted.limits }) };
  if (next.device === 'cdrom' && wanted.device === 'cdrom') moveMedium(next, wanted);
  const [has, wants] = [next.backend, wanted.backend];
  if (has?.type === 'file' && wants?.type === 'file' && has.create && wants.create) {
    // A disk never shrinks.
    const maxBytes = Math.max(has.create.maxBytes, wants.create.maxBytes);
    next.backend = { ...has, create: { ...has.create, maxBytes } };
  }
  return next;
}

/** Media that the pod has mounted go in and out of their drive; others come with the next pod. */
function moveMedium(drive: MachineDisk, wanted: MachineDisk): void {
  if (drive.backend === undefined) return;
  if (wanted.backend === undefined) drive.ejected = true;
  else if (drive.source === wanted.source && isDeepStrictEqual(drive.backend, wanted.backend))
    delete drive.ejected;
}

/**
 * A disk as its spec would have it: a medium that lies outside its drive is none, and the image that a disk
 * began as is no part of it any more.
 */
export function asSpecified({ ejected, backend, ...disk }: MachineDisk): MachineDisk {
  if (ejected) {
    const { source: _, ...drive } = disk;
    return drive;
  }
  if (backend === undefined) return disk;
  if (backend.type !== 'file' && backend.type !== 'block') return { ...disk, backend };
  const { base: _, flatten: __, ...own } = backend;
  return { ...disk, backend: own };
}
