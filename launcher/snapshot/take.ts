/**
 * Taking a snapshot: all disks change to new layers in one step of QEMU's, with the guest's memory where that is
 * wanted. The new layers are on the lists before QEMU is given them (rule 1 of ../disks/layers.ts), so that a kill
 * between any two steps loses nothing that was acknowledged.
 */
import { dirname } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import { failpoint } from '../../crds/failpoint.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { SnapshotOrder } from '../../crds/snapshot-order.ts';
import { completed, type LayerTree, withSnapshot } from '../disks/layers.ts';
import { makeActive } from '../disks/layers-file.ts';
import type { FrozenGuest, GuestAgent } from '../guest/freeze.ts';
import type { QmpClient } from '../qmp/client.ts';
import type { Vm } from '../vm/vm.ts';
import { activeNode, openLayer } from './graph.ts';
import { memoryPath, publishMemory, requireMemoryRoom, requireRoom } from './memory.ts';
import { type LayeredDisk, type LayerStore, unlayeredDisks } from './store.ts';
import { awaitEvent, resume, timeOf, whenFinalized } from './wait.ts';

const MIB = 1024 * 1024;
/** Room for a layer's tables and the guest's first writes. */
const LAYER_ROOM = 16 * MIB;
/** Snapshots of one VM: reports are bounded, and so is the chain. */
const MOST_SNAPSHOTS = 16;
/** Bytes a second, and milliseconds that the guest may stand still at the end: QEMU converges on these. */
const BANDWIDTH = 4 * 1024 * MIB;
const DOWNTIME = 100;

export const MIGRATION_CAPABILITIES = ['mapped-ram', 'events'];

interface Opened {
  disk: LayeredDisk;
  /** The node that the guest writes to until the change. */
  below: string;
  overlay: string;
}

/** Throws VmsteadError; before the change of layers nothing is left of a snapshot that failed. */
export async function take(
  vm: Vm,
  qmp: QmpClient,
  store: LayerStore,
  agent: GuestAgent,
  order: SnapshotOrder,
): Promise<void> {
  const { description, life } = vm.options;
  refuse(vm, store, order);
  const paused = vm.state === 'Paused';
  const at = new Date().toISOString();
  life.change({ snapshot: { uid: order.uid, paused } });
  const opened = await openAll(vm, qmp, store, order, at);
  let stopped: number | undefined;
  let resumed: number | undefined;
  using _watch = awaitEvent(vm, 'the pause', order.deadlineSeconds * 1000, (event) => {
    if (event.event === 'STOP') stopped ??= timeOf(event);
    return undefined;
  });
  using again = awaitEvent(vm, 'RESUME', order.deadlineSeconds * 1000, (event) => {
    if (event.event !== 'RESUME' || stopped === undefined) return undefined;
    resumed = timeOf(event);
    return true;
  });
  let frozen: FrozenGuest = 'No';
  if (order.memory) await takeWithMemory(vm, qmp, order, opened);
  else frozen = await takeDisks(qmp, agent, order, opened);
  if (order.memory) {
    if (paused) await qmp.execute('blockdev-set-active', { active: true });
    else {
      await resume(qmp);
      await again.value;
    }
    await vm.refresh();
    failpoint('snapshot:memory', 'before');
    publishMemory({
      version: 1,
      snapshot: order.uid,
      machineType: description.machineType,
      memoryMiB: description.memoryMiB,
      qemuVersion: vm.qemuVersion ?? '',
      paused,
    });
    failpoint('snapshot:memory', 'after');
  }
  const facts = {
    ...(frozen === 'Yes' ? { frozen: true as const } : {}),
    ...(stopped !== undefined && resumed !== undefined ? { pause: Math.round(resumed - stopped) } : {}),
  };
  for (const { disk } of opened) {
    failpoint('snapshot:complete', 'before');
    store.publish(disk, completed(store.ensure(disk), order.uid, facts));
  }
}

/** Throws before anything is touched. */
function refuse(vm: Vm, store: LayerStore, { name, memory }: SnapshotOrder): void {
  const { description } = vm.options;
  if (vm.state !== 'Running' && vm.state !== 'Paused') {
    throw unusable(`the VM is ${vm.state}; a snapshot is taken of one that is Running or Paused`);
  }
  const thrownAway = description.disks.filter((disk) => disk.backend?.type === 'image' && !disk.readOnly);
  if (memory && thrownAway.length > 0) {
    throw unusable(
      `what the guest writes to disk ${thrownAway.map((disk) => disk.name).join(', ')} is thrown away with the pod, so that its memory would belong to a disk that is gone; take the disks alone`,
    );
  }
  refuseDisks(description, store, name);
  if (memory) requireMemoryRoom(description.memoryMiB);
}

/** Throws before anything is touched, where the disks cannot have one layer more. */
export function refuseDisks(
  description: Pick<MachineDescription, 'disks'>,
  store: LayerStore,
  name: string,
): void {
  const without = unlayeredDisks(description);
  if (without.length > 0) {
    throw unusable(
      `disk ${without.join(', ')} cannot have layers (a claim that Vmstead did not make, or volumeMode Block); snapshot it by its storage`,
    );
  }
  if (store.disks.length === 0) throw unusable('the VM has no disk that keeps anything');
  if (store.snapshots().length >= MOST_SNAPSHOTS) {
    throw unusable(`the VM has ${MOST_SNAPSHOTS} snapshots already; delete one before ${name} is taken`);
  }
  for (const disk of store.disks) {
    requireRoom(dirname(disk.first), LAYER_ROOM, `the claim of disk ${disk.name}`);
  }
}

const unusable = (message: string) => new VmsteadError('SnapshotUnusable', message);

/** Makes and opens a new layer for each disk, and puts it on the disk's list. */
async function openAll(
  vm: Vm,
  qmp: QmpClient,
  store: LayerStore,
  order: SnapshotOrder,
  at: string,
): Promise<Opened[]> {
  const opened: Opened[] = [];
  for (const disk of store.disks) {
    const tree = addLayer(store, disk, order, at);
    const below = await activeNode(qmp, disk);
    const overlay = await openLayer(vm, qmp, disk, tree.active, tree.generation);
    opened.push({ disk, below, overlay });
  }
  return opened;
}

/** Makes a new layer for a disk and puts it on the disk's list, with a mark that is not complete yet. */
export function addLayer(
  store: LayerStore,
  disk: LayeredDisk,
  { uid, name, memory }: SnapshotOrder,
  at: string,
): LayerTree {
  const disks = store.disks.map((each) => each.name);
  const mark = { uid, name, at, disks, ...(memory ? { memory: true as const } : {}) };
  const tree = withSnapshot(store.ensure(disk), mark);
  makeActive(disk.first, tree);
  store.publish(disk, tree);
  return tree;
}

/** The step that counts: all disks at once. */
async function change(qmp: QmpClient, opened: readonly Opened[]): Promise<void> {
  await qmp.execute('transaction', {
    actions: opened.map(({ below, overlay }) => ({
      type: 'blockdev-snapshot',
      data: { node: below, overlay },
    })),
  });
}

async function takeDisks(
  qmp: QmpClient,
  agent: GuestAgent,
  { quiesce, deadlineSeconds }: SnapshotOrder,
  opened: readonly Opened[],
): Promise<FrozenGuest> {
  return await agent.whileFrozen(quiesce, deadlineSeconds * 1000, () => change(qmp, opened));
}

async function takeWithMemory(
  vm: Vm,
  qmp: QmpClient,
  { uid, deadlineSeconds }: SnapshotOrder,
  opened: readonly Opened[],
): Promise<void> {
  const capabilities = [...MIGRATION_CAPABILITIES, 'pause-before-switchover'].map((capability) => ({
    capability,
    state: true,
  }));
  await whenFinalized(() => qmp.execute('migrate-set-capabilities', { capabilities }));
  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': BANDWIDTH, 'downtime-limit': DOWNTIME });
  const reached = (...states: string[]) =>
    awaitEvent(vm, 'migrate', deadlineSeconds * 1000, (event) =>
      event.event === 'MIGRATION' && states.includes(event.data.status) ? event.data.status : undefined,
    );
  using ready = reached('pre-switchover', 'failed', 'cancelled');
  await qmp.execute('migrate', { uri: `file:${memoryPath(uid)}` });
  await expectState(qmp, await ready.value, 'pre-switchover');
  await change(qmp, opened);
  using done = reached('completed', 'failed', 'cancelled');
  await qmp.execute('migrate-continue', { state: 'pre-switchover' });
  await expectState(qmp, await done.value, 'completed');
}

async function expectState(qmp: QmpClient, state: string, wanted: string): Promise<void> {
  if (state === wanted) return;
  const { 'error-desc': why } = await qmp.execute('query-migrate');
  throw new VmsteadError(
    'SnapshotUnusable',
    `QEMU could not write the memory (${state}): ${why ?? 'it does not say why'}`,
  );
}
