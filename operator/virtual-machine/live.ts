/** What of a running machine changes with its spec at once, and what waits for the next start. Pure. */
import { isDeepStrictEqual } from 'node:util';
import type { MachineDescription, MachineDisk } from '../../crds/machine-description.ts';

/**
 * The machine that `running` becomes without a restart on its way to `wanted`; `running` itself where nothing
 * of it can be changed so. What is still different afterwards is what {@link pendingChanges} tells.
 */
export function liveMachine(running: MachineDescription, wanted: MachineDescription): MachineDescription {
  const disks = running.disks.map((disk) => {
    const target = wanted.disks.find(({ name }) => name === disk.name);
    return target === undefined ? disk : liveDisk(disk, target);
  });
  if (isDeepStrictEqual(disks, running.disks)) return running;
  return { ...running, revision: (running.revision ?? 0) + 1, disks };
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
