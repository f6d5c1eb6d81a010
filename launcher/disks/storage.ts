/** What a disk lies on: files and devices, checked before QEMU is told of them. */
import { closeSync, constants, lstatSync, openSync, readFileSync, type Stats, statSync } from 'node:fs';
import { VmsteadError } from '../../crds/errors.ts';
import { errno } from '../errno.ts';

/** A regular file, no link: a link in a volume that others write to may point to any file of the launcher. */
export function regularFile(disk: string, path: string): Stats {
  const stats = lookAt(path);
  if (stats === undefined) {
    throw new VmsteadError(
      'DiskUnusable',
      `disk ${disk}: there is no ${path}; put a raw disk of that name into the claim, or correct the source in the spec`,
    );
  }
  if (!stats.isFile()) {
    throw new VmsteadError('DiskUnusable', `disk ${disk}: ${path} is not a regular file`);
  }
  return stats;
}

export function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Whether the file system takes O_DIRECT (tmpfs and some network file systems refuse). Also the check that
 * the launcher, and so QEMU, may open the file at all.
 */
export function takesDirect(disk: string, path: string, readOnly: boolean): boolean {
  const flags = (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NOFOLLOW;
  try {
    closeSync(openSync(path, flags | constants.O_DIRECT));
    return true;
  } catch (error) {
    if (errno(error) !== 'EINVAL') throw openError(disk, path, error);
  }
  try {
    closeSync(openSync(path, flags));
    return false;
  } catch (error) {
    throw openError(disk, path, error);
  }
}

/**
 * Claims a block device for as long as the descriptor lives: image locks belong to the device node, of which
 * every container has its own, but O_EXCL belongs to the device. QEMU inherits the descriptor, so that the
 * claim outlives the launcher. One that others write to as well is only held open: the Lease has who they are.
 */
export function claimDevice(
  disk: string,
  path: string,
  { readOnly, exclusive }: { readOnly: boolean; exclusive: boolean },
): number {
  const stats = lookAt(path);
  if (stats === undefined) {
    throw new VmsteadError('DiskUnusable', `disk ${disk}: there is no device ${path} in the pod`);
  }
  if (!stats.isBlockDevice()) {
    throw new VmsteadError('DiskUnusable', `disk ${disk}: ${path} is not a block device`);
  }
  try {
    const access = readOnly ? constants.O_RDONLY : constants.O_RDWR;
    return openSync(path, exclusive ? access | constants.O_EXCL : access);
  } catch (error) {
    throw openError(disk, path, error);
  }
}

/** Size of a block device, in bytes; Node has no call for it. Throws DiskUnusable. */
export function deviceBytes(disk: string, path: string): number {
  const { rdev } = statSync(path);
  // As Linux packs a device number: 12 bits of the major one between 8 and 24 of the minor one.
  const [major, minor] = [(rdev >>> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)];
  const size = `/sys/dev/block/${major}:${minor}/size`;
  try {
    return Number(readFileSync(size, 'utf8')) * 512;
  } catch (error) {
    const message = `disk ${disk}: the size of ${path} is not to be found in ${size}`;
    throw new VmsteadError('DiskUnusable', message, { cause: error });
  }
}

function openError(disk: string, path: string, error: unknown): VmsteadError {
  const code = errno(error);
  if (code === 'EBUSY') {
    return new VmsteadError(
      'DiskBusy',
      `disk ${disk}: the device ${path} is in use on this node; end what uses it, then start the VM again`,
      { cause: error },
    );
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new VmsteadError(
      'DiskUnusable',
      `disk ${disk}: user ${process.getuid?.()} may not open ${path} (${code}); for a filesystem claim let group ${process.getgid?.()} write, ` +
        'for a block claim set device_ownership_from_security_context = true in containerd',
      { cause: error },
    );
  }
  return new VmsteadError('DiskUnusable', `disk ${disk}: cannot open ${path}: ${(error as Error).message}`, {
    cause: error,
  });
}
