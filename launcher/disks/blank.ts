/** Disks made at first start: thin, at once, and never again over data. */

import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import { errno } from '../errno.ts';
import { lookAt } from './storage.ts';

const MIB = 1024 * 1024;
const UNFINISHED = '.vmstead-new';

/** What an empty volume may hold: the file system's own, and what a launcher killed in between left. */
const IGNORED = new Set(['lost+found', UNFINISHED]);

/**
 * Part of a file system that a disk must leave free: for the file system's own tables, which grow as a
 * sparse file fills.
 */
const RESERVED = 0.03;

/** Size of a new disk on a volume with so much room: whole MiB, a little below the volume. */
export function blankBytes(maxBytes: number, freeBytes: number): number {
  return Math.floor(Math.min(maxBytes, freeBytes * (1 - RESERVED)) / MIB) * MIB;
}

/** Makes the disk when its volume is empty. Returns whether it did; throws DiskUnusable. */
export function createBlank(
  disk: string,
  path: string,
  { maxBytes, preallocate }: { maxBytes: number; preallocate?: true | undefined },
): boolean {
  return createOnce(disk, path, (file, free) => {
    const bytes = blankBytes(maxBytes, free);
    if (bytes < MIB)
      throw new VmsteadError('DiskUnusable', `disk ${disk}: its volume has no room for a disk`);
    if (preallocate) reserve(disk, file, bytes);
    else ftruncateSync(file, bytes);
  });
}

/**
 * Makes a disk's file when its volume is empty: whole or not at all.
 * @param fill gets the file and the bytes that are free. Returns whether it did; throws DiskUnusable.
 */
export function createOnce(
  disk: string,
  path: string,
  fill: (file: number, freeBytes: number) => void,
): boolean {
  if (lookAt(path) !== undefined) return false;
  const directory = dirname(path);
  try {
    mkdirSync(directory, { recursive: true });
    refuseOtherContent(disk, directory, basename(path));
    const room = statfsSync(directory);
    publish(join(directory, UNFINISHED), path, (file) => fill(file, room.bavail * room.bsize));
  } catch (error) {
    const code = errno(error);
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    throw new VmsteadError(
      'DiskUnusable',
      `disk ${disk}: user ${process.getuid?.()} may not write to its volume at ${directory}; let group ${process.getgid?.()} write there (storage that skips fsGroup needs it done by hand)`,
      { cause: error },
    );
  }
  return true;
}

/** Node has no call for it. A file system that cannot reserve is written to, block by block (`--posix`). */
function reserve(disk: string, file: number, bytes: number): void {
  const args = ['--posix', '--length', String(bytes), '/proc/self/fd/3'];
  const { status, error, stderr } = spawnSync('fallocate', args, {
    stdio: ['ignore', 'ignore', 'pipe', file],
    encoding: 'utf8',
  });
  if (status === 0) return;
  throw new VmsteadError(
    'DiskUnusable',
    `disk ${disk}: its ${bytes} bytes cannot be reserved on the volume: ${(error?.message ?? stderr).trim()}`,
  );
}

function refuseOtherContent(disk: string, directory: string, name: string): void {
  const other = readdirSync(directory).filter((entry) => !IGNORED.has(entry));
  if (other.length === 0) return;
  throw new VmsteadError(
    'DiskUnusable',
    `disk ${disk}: its volume has no ${name} but is not empty (${other.slice(0, 3).join(', ')}); ` +
      'a new disk is made in an empty volume only: empty it, or put the data in as that file',
  );
}

/**
 * A file that appears whole or not at all, and never in the place of another: `link` fails where `rename`
 * would replace.
 */
export function publish(unfinished: string, path: string, fill: (file: number) => void): void {
  rmSync(unfinished, { force: true });
  const file = openSync(unfinished, 'wx', 0o660);
  try {
    fill(file);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  linkSync(unfinished, path);
  rmSync(unfinished);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
