/**
 * A disk as it is at one moment, for others to read while the guest goes on. What the guest overwrites from then on
 * is copied aside first, into a file of bounded size; where that is full the moment is lost, and never the guest's
 * write. Node names: those that the guest's requests pass begin as the disk's, so that an error is told of that disk.
 * Source: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html (BlockdevOptionsCbw)
 */
import { rmSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { VmsteadError } from '../../crds/errors.ts';
import { EXPORT_ROOM_MIB } from '../../crds/machine-description.ts';
import { chainOf } from '../disks/layers.ts';
import { createOverlay } from '../disks/qcow2.ts';
import type { FrozenGuest, GuestAgent } from '../guest/freeze.ts';
import { diskNode, imageNodes } from '../machine/disks.ts';
import { frozenNodes } from '../machine/layers.ts';
import type { QmpClient } from '../qmp/client.ts';
import { QmpClosedError } from '../qmp/errors.ts';
import { activeNode } from '../snapshot/graph.ts';
import { type LayerStore, layerPath } from '../snapshot/store.ts';
import type { Vm } from '../vm/vm.ts';

/** Name of the export and of QEMU's object for it. */
export const EXPORT_NAME = 'export';
const MIB = 1024 * 1024;
/** A test that wants it to be full takes less. */
const ROOM = Number(process.env.VMSTEAD_EXPORT_ROOM_MIB ?? EXPORT_ROOM_MIB) * MIB;
/** Seconds that a write of the guest waits for the copy; after that the moment is lost. */
const COPY_TIMEOUT = 10;
/** Milliseconds that the guest's agent has to hold its file systems still. */
const FREEZE_DEADLINE = 10_000;
/** Of the room that is left on the node: others need it too. */
const SHARE_OF_FREE = 0.25;
const TRIES = 50;
const RETRY_INTERVAL = 100;

/** What must be taken down again, also by another launcher. */
export interface ExportRecord {
  disk: string;
  index: number;
  /** The node that the disk's device had before; absent: nothing was put between. */
  below?: string;
}

export interface Moment {
  at: string;
  frozen: FrozenGuest;
}

const filterNode = (index: number): string => `${diskNode(index)}-export`;
/** QEMU's path of the device: the property `drive` of a virtio disk's is that of the device behind it. */
const devicePath = (disk: string): string => `/machine/peripheral/disk-${disk}`;

/** Keeps the disk's present content. Whoever calls it has written the record down. Returns the node to be read. */
export async function keepNow(
  vm: Vm,
  qmp: QmpClient,
  agent: GuestAgent,
  { disk, index, below }: ExportRecord,
  aside: string,
): Promise<Moment & { node: string }> {
  if (below === undefined) {
    return { at: new Date().toISOString(), frozen: 'No', node: await activeNode(qmp, { name: disk }) };
  }
  const bytes = await bytesOf(qmp, below);
  const { bavail, bsize } = statfsSync(dirname(aside));
  const room = Math.floor(Math.min(ROOM, bytes, bavail * bsize * SHARE_OF_FREE));
  const size = createOverlay(aside, bytes, room);
  const add = async (options: Parameters<typeof qmp.execute<'blockdev-add'>>[1]) =>
    await qmp.execute('blockdev-add', options);
  await add({ driver: 'file', 'node-name': 'export-file', filename: aside, discard: 'unmap' });
  await add({ driver: 'raw', 'node-name': 'export-room', file: 'export-file', size });
  await add({ driver: 'qcow2', 'node-name': 'export-aside', file: 'export-room', backing: null });
  let at = '';
  let frozen: FrozenGuest = 'No';
  const filter = filterNode(index);
  const cut = async () => {
    await add({
      driver: 'copy-before-write',
      'node-name': filter,
      file: below,
      target: 'export-aside',
      'on-cbw-error': 'break-snapshot',
      'cbw-timeout': COPY_TIMEOUT,
    });
    await qmp.execute('qom-set', { path: devicePath(disk), property: 'drive', value: filter });
    at = new Date().toISOString();
  };
  if (vm.state === 'Running') frozen = await agent.whileFrozen('Auto', FREEZE_DEADLINE, cut);
  else await cut();
  await add({ driver: 'snapshot-access', 'node-name': 'export-view', file: filter });
  return { at, frozen, node: 'export-view' };
}

/** Opens the layers of a snapshot once more, for reading. Returns the node to be read. */
export async function openSnapshot(
  vm: Vm,
  qmp: QmpClient,
  store: LayerStore,
  uid: string,
  name: string,
): Promise<{ node: string }> {
  const found = store.marksOf(uid).find(({ disk }) => disk.name === name);
  const prepared = found && vm.disks[found.disk.index];
  if (found === undefined || !prepared) {
    throw new VmsteadError('ExportFailed', `the snapshot has no disk ${name}`);
  }
  const { disk, tree, mark } = found;
  const layers = chainOf(tree, mark.layer).map(({ file, format }) => ({
    filename: layerPath(disk, file),
    format,
    direct: false,
  }));
  const base = prepared.base === undefined ? null : 'export-base';
  const below = prepared.base === undefined ? [] : imageNodes('export-base', prepared.base, prepared.aio);
  const { nodes, top } = frozenNodes('export', layers, prepared.aio, base);
  for (const node of [...below, ...nodes]) await qmp.execute('blockdev-add', node as never);
  return { node: top ?? 'export-base' };
}

/** Lets others read a node, at a socket. */
export async function serveNode(qmp: QmpClient, node: string, socket: string): Promise<void> {
  rmSync(socket, { force: true });
  await qmp.execute('nbd-server-start', { addr: { type: 'unix', data: { path: socket } } });
  await qmp.execute('block-export-add', {
    type: 'nbd',
    id: EXPORT_NAME,
    'node-name': node,
    name: EXPORT_NAME,
  });
}

/** Takes down whatever there is of an export: begun, complete, or half taken down. Rejects where it stays. */
export async function takeDown(qmp: QmpClient, record: ExportRecord, aside: string): Promise<void> {
  const attempt = async (what: Promise<unknown>) => {
    await what.catch((error: unknown) => {
      if (error instanceof QmpClosedError) throw error;
    });
  };
  await attempt(qmp.execute('block-export-del', { id: EXPORT_NAME, mode: 'hard' }));
  await attempt(qmp.execute('nbd-server-stop'));
  const filter = filterNode(record.index);
  for (let tries = 0; ; tries++) {
    const left = (await qmp.execute('query-named-block-nodes', { flat: true })).flatMap((node) => {
      const name = node['node-name'] ?? '';
      return name === filter || name.startsWith('export-') ? [name] : [];
    });
    if (left.length === 0) break;
    if (tries === TRIES) throw new Error(`QEMU does not let go of ${left.join(', ')}`);
    if (tries > 0) await sleep(RETRY_INTERVAL);
    if (left.includes(filter)) await attempt(takeOut(qmp, record, filter));
    for (const name of left) await attempt(qmp.execute('blockdev-del', { 'node-name': name }));
  }
  rmSync(aside, { force: true });
}

/** QEMU does not survive it when a device is given the node that it has: it is asked first. */
async function takeOut(qmp: QmpClient, { disk, below }: ExportRecord, filter: string): Promise<void> {
  await qmp.execute('blockdev-del', { 'node-name': 'export-view' }).catch(() => {});
  const path = devicePath(disk);
  if (below === undefined || (await qmp.execute('qom-get', { path, property: 'drive' })) !== filter) return;
  await qmp.execute('qom-set', { path, property: 'drive', value: below });
}

async function bytesOf(qmp: QmpClient, name: string): Promise<number> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  const node = nodes.find((each) => each['node-name'] === name);
  if (node === undefined) throw new VmsteadError('ExportFailed', `QEMU has no node ${name} any more`);
  return node.image['virtual-size'];
}
