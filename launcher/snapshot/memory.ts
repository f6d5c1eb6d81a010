/** The memory of a guest as a file in the state claim, with a page that says what it belongs to. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { VmsteadError } from '../../crds/errors.ts';
import { POD_PATH } from '../../crds/machine-description.ts';
import { lookAt } from '../disks/storage.ts';
import { errno } from '../errno.ts';

const MIB = 1024 * 1024;
/** Devices, tables and the page beside the file: generously. */
const DEVICES_MIB = 32;

const memoryPage = z.strictObject({
  version: z.literal(1),
  snapshot: z.string(),
  machineType: z.string(),
  memoryMiB: z.int(),
  qemuVersion: z.string(),
  /** A person had paused the guest. */
  paused: z.boolean(),
  bytes: z.int(),
  /** Absent until it was read through. */
  sha256: z.string().optional(),
});
export type MemoryPage = z.infer<typeof memoryPage>;

const FOLDER = join(POD_PATH.state, 'memory');

export const memoryPath = (snapshot: string): string => join(FOLDER, `${snapshot}.img`);
const pagePath = (snapshot: string): string => join(FOLDER, `${snapshot}.json`);

/** Throws SnapshotNoRoom, and SnapshotUnusable where the VM has no state claim. */
export function requireMemoryRoom(memoryMiB: number): void {
  if (lookAt(POD_PATH.state) === undefined) {
    throw new VmsteadError(
      'SnapshotUnusable',
      'the VM has no place for memory: set spec.state with a size somewhat above its memory, and restart it',
    );
  }
  mkdirSync(FOLDER, { recursive: true });
  requireRoom(FOLDER, (memoryMiB + DEVICES_MIB) * MIB, 'the state claim');
}

/** Throws SnapshotNoRoom with the numbers. */
export function requireRoom(folder: string, bytes: number, what: string): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize >= bytes) return;
  const [needs, has] = [Math.ceil(bytes / MIB), Math.floor((bavail * bsize) / MIB)];
  throw new VmsteadError(
    'SnapshotNoRoom',
    `${what} has ${has} MiB left and the snapshot needs ${needs} MiB; enlarge it, or delete older snapshots`,
  );
}

/** Says that a memory is whole: only after every byte of it is on the storage. */
export function publishMemory(page: Omit<MemoryPage, 'bytes' | 'sha256'>): void {
  const path = memoryPath(page.snapshot);
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  writePage({ ...page, bytes: statSync(path).size });
}

export function writePage(page: MemoryPage): void {
  const path = pagePath(page.snapshot);
  writeFileSync(`${path}.next`, `${JSON.stringify(page)}\n`, { flush: true });
  renameSync(`${path}.next`, path);
  const directory = openSync(FOLDER, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

export function readPage(snapshot: string): MemoryPage | undefined {
  try {
    return memoryPage.safeParse(JSON.parse(readFileSync(pagePath(snapshot), 'utf8'))).data;
  } catch {
    return undefined;
  }
}

/** The page goes first: without it there is no memory. */
export function forgetMemory(snapshot: string): void {
  rmSync(pagePath(snapshot), { force: true });
  rmSync(memoryPath(snapshot), { force: true });
}

/** Memories that belong to none of these snapshots: of a snapshot that failed, or was deleted meanwhile. */
export function sweepMemory(known: ReadonlySet<string>): void {
  let entries: string[] = [];
  try {
    entries = readdirSync(FOLDER);
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw error;
  }
  for (const entry of entries) {
    const snapshot = entry.split('.')[0] ?? '';
    if (!known.has(snapshot)) rmSync(join(FOLDER, entry), { force: true });
  }
}
