/**
 * Going back to a snapshot before QEMU is started. The snapshot is read through first, which takes its time; then
 * every disk gets a new empty layer on what the snapshot froze.
 */
import { statSync } from 'node:fs';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { RestoreOrder, RestoreReport } from '../../crds/snapshot-order.ts';
import { chainOf } from '../disks/layers.ts';
import type { Log } from '../log.ts';
import { checksumOf } from './checksum.ts';
import { memoryPath, readPage } from './memory.ts';
import { begin, finish, finishSnapshots } from './restore-disks.ts';
import { type LayeredDisk, LayerStore, layerPath } from './store.ts';

type Machine = Pick<MachineDescription, 'machineType' | 'memoryMiB'>;

/** Throws VmsteadError: SnapshotUnusable, DiskUnusable. */
export async function restoreAtStart(
  description: MachineDescription,
  log: Log,
): Promise<RestoreReport | undefined> {
  const store = new LayerStore(description);
  finish(store);
  finishSnapshots(store);
  return description.restore === undefined
    ? undefined
    : await restore(store, description.restore, description, log);
}

/** Throws SnapshotUnusable with what is wrong with each of them; then nothing was changed. */
async function restore(
  store: LayerStore,
  order: RestoreOrder,
  machine: Machine,
  log: Log,
): Promise<RestoreReport> {
  const done = store.disks.map((disk) => store.get(disk)?.restored).find((each) => each?.uid === order.uid);
  if (done !== undefined) {
    const memory = store.disks.some((disk) => store.get(disk)?.memory !== undefined);
    return { uid: order.uid, snapshot: done.snapshot, memory };
  }
  const refused: string[] = [];
  for (const snapshot of order.snapshots) {
    try {
      const memory = await verify(store, snapshot.uid, order.memory, machine);
      begin(store, order.uid, snapshot.uid, memory);
      finish(store);
      log.info({ snapshot: snapshot.name, memory }, 'the disks are as the snapshot has them');
      return { uid: order.uid, snapshot, memory, ...(refused.length === 0 ? {} : { refused }) };
    } catch (error) {
      if (!(error instanceof VmsteadError)) throw error;
      log.warn({ snapshot: snapshot.name, err: error.message }, 'a snapshot cannot be gone back to');
      refused.push(`${snapshot.name}: ${error.message}`.slice(0, 500));
    }
  }
  throw new VmsteadError('SnapshotUnusable', refused.join('; '));
}

/** Reads a snapshot through. Returns whether its memory is to be loaded. */
async function verify(
  store: LayerStore,
  uid: string,
  memory: RestoreOrder['memory'],
  machine: Machine,
): Promise<boolean> {
  for (const { disk, tree, mark } of store.marksOf(uid)) {
    for (const layer of chainOf(tree, mark.layer)) await intact(disk, layer.file, layer.sha256);
  }
  const page = memory === 'Exclude' ? undefined : readPage(uid);
  if (page === undefined) {
    if (memory === 'Include') throw unusable('it has no memory; restore it with memory: Exclude');
    return false;
  }
  if (page.machineType !== machine.machineType || page.memoryMiB !== machine.memoryMiB) {
    throw unusable(
      `its memory belongs to a machine ${page.machineType} with ${page.memoryMiB} MiB, and this one is ${machine.machineType} with ${machine.memoryMiB} MiB; change the spec back, or restore it with memory: Exclude`,
    );
  }
  const path = memoryPath(uid);
  if (statSync(path, { throwIfNoEntry: false })?.size !== page.bytes) {
    throw unusable('the file with its memory is missing or cut off');
  }
  if (page.sha256 !== undefined && (await checksumOf(path, true))?.sha256 !== page.sha256) {
    throw unusable('its memory is damaged: it does not have the checksum that it had');
  }
  return true;
}

async function intact(disk: LayeredDisk, file: string, sha256: string | undefined): Promise<void> {
  const path = layerPath(disk, file);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) {
    throw unusable(`layer ${file} of disk ${disk.name} is missing`);
  }
  // One that was not read through yet is taken as it is: nothing is known against it.
  if (sha256 === undefined) return;
  const now = await checksumOf(path, true);
  if (now?.sha256 !== sha256) {
    throw unusable(
      `layer ${file} of disk ${disk.name} is damaged: it does not have the checksum that it had`,
    );
  }
}

const unusable = (message: string) => new VmsteadError('SnapshotUnusable', message);
