/** How large a disk may be now: its device or its volume may have grown. */
import { statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { MachineDisk } from '../../../crds/machine-description.ts';
import { blankBytes } from '../../disks/blank.ts';
import { overlayBytesOn } from '../../disks/on-base.ts';
import { deviceBytes } from '../../disks/storage.ts';
import type { PreparedDisk } from '../../machine/host.ts';

const BLOCK = 512;
/** Less than a hundredth more is the file system's own coming and going, not a volume that was enlarged. */
const WORTH = 1.01;

/** Bytes that the disk should have, or nothing where it should stay as it is. */
export function grownBytes(
  { name, backend, readOnly }: MachineDisk,
  prepared: PreparedDisk,
  bytes: number,
): number | undefined {
  if (readOnly || prepared.overlay !== undefined) return undefined;
  const room = prepared.driver === 'host_device' ? roomOn(name, prepared) : roomFor(backend, prepared);
  return room !== undefined && room >= bytes * WORTH ? room : undefined;
}

function roomOn(disk: string, { filename, format }: PreparedDisk): number {
  const bytes = deviceBytes(disk, filename);
  return format === 'raw' ? bytes : overlayBytesOn(bytes);
}

function roomFor(backend: MachineDisk['backend'], { filename }: PreparedDisk): number | undefined {
  // A disk that somebody put there keeps the size that it came with.
  if (backend?.type !== 'file' || backend.create === undefined) return undefined;
  const { bavail, bsize } = statfsSync(dirname(filename));
  return blankBytes(backend.create.maxBytes, statSync(filename).blocks * BLOCK + bavail * bsize);
}
