/** A guest that was paused because its storage is full goes on when there is room. */
import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { PreparedDisk } from '../machine/host.ts';

/** Less room than this and the guest would stop again at once. */
const ENOUGH_BYTES = 16 * 1024 * 1024;

/** Milliseconds between two looks; the longer one after a resume that did not last. */
export const LOOK_INTERVAL = { first: 2000, last: 30_000 } as const;

/**
 * Whether a full disk may have room again. A throw-away overlay never has: its bound is part of the machine. How
 * much a device has left, nobody knows before it is written to: it is tried, and what fails again is lost no more
 * than the first time.
 */
export function mayHaveRoom(disk: PreparedDisk): boolean {
  if (disk.overlay !== undefined) return false;
  if (disk.driver === 'host_device') return true;
  try {
    const { bavail, bsize } = statfsSync(dirname(disk.filename));
    return bavail * bsize >= ENOUGH_BYTES;
  } catch {
    return false;
  }
}

/** An attached disk is tried again and again: its exporter is replaced when it dies. */
export function lostMessage(name: string): string {
  return `disk ${name} cannot be reached in its attachment pod; the guest is paused and goes on by itself when it can`;
}

/** What a person can do about a disk that stopped the guest. */
export function ioErrorMessage(
  name: string,
  noSpace: boolean,
  disk: PreparedDisk | null | undefined,
): string {
  if (!noSpace) {
    return `disk ${name} failed; the guest is paused: repair its storage, then resume the VM`;
  }
  if (disk?.overlay !== undefined) {
    return `the throw-away overlay of disk ${name} is full; the guest is paused: raise overlaySize and restart the VM`;
  }
  if (disk?.driver === 'host_device') {
    return `the storage of disk ${name} is full; the guest is paused and tries again at least every half minute: make room`;
  }
  return `the volume of disk ${name} is full; the guest is paused and goes on by itself when there is room: enlarge the claim`;
}
