/** How large a disk may be now: its device or its volume may have grown. */
import { readFileSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { MachineDisk } from '../../../crds/machine-description.ts';
import { blankBytes } from '../../disks/blank.ts';
import type { PreparedDisk } from '../../machine/host.ts';

const SECTOR = 512;
const BLOCK = 512;
/** Less than a hundredth more is the file system's own coming and going, not a volume that was enlarged. */
const WORTH = 1.01;

/** Bytes that the disk should have, or nothing where it should stay as it is. */
export function grownBytes(
  { backend, readOnly }: MachineDisk,
  prepared: PreparedDisk,
  bytes: number,
): number | undefined {
  if (readOnly || prepared.overlay !== undefined) return undefined;
  const room =
    prepared.driver === 'host_device' ? deviceBytes(prepared.filename) : roomFor(backend, prepared);
  return room !== undefined && room >= bytes * WORTH ? room : undefined;
}

function roomFor(backend: MachineDisk['backend'], { filename }: PreparedDisk): number | undefined {
  // A disk that somebody put there keeps the size that it came with.
  if (backend?.type !== 'file' || backend.create === undefined) return undefined;
  const { bavail, bsize } = statfsSync(dirname(filename));
  return blankBytes(backend.create.maxBytes, statSync(filename).blocks * BLOCK + bavail * bsize);
}

/** The kernel's own word; a device's file has no size. */
function deviceBytes(path: string): number | undefined {
  const { rdev } = statSync(path);
  // The numbers as glibc's makedev packs them.
  const dev = BigInt(rdev);
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  try {
    return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'latin1')) * SECTOR;
  } catch {
    return undefined;
  }
}
