/** The layers of a VM that is off: the same orders as of a running one, carried out without a QEMU. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SNAPSHOT_FEATURE } from '../../crds/channel.ts';
import { VmsteadError } from '../../crds/errors.ts';
import { failpoint } from '../../crds/failpoint.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { SnapshotOrder } from '../../crds/snapshot-order.ts';
import { ChannelClient } from '../channel/client.ts';
import { completed, unhashed, withChecksum, withoutSnapshot } from '../disks/layers.ts';
import { isOnBase } from '../disks/on-base.ts';
import { lookAt } from '../disks/storage.ts';
import { jsonLog } from '../json-log.ts';
import { type Ending, endingOf } from '../vm/ending.ts';
import type { Life } from '../vm/life.ts';
import { checksumOf } from './checksum.ts';
import { forgetMemory } from './memory.ts';
import { reportOf } from './report.ts';
import { finish, finishSnapshots } from './restore-disks.ts';
import { LayerStore, layerPath } from './store.ts';
import { addLayer, refuseDisks } from './take.ts';

/** Milliseconds between two looks at what is left to be read through. */
const ROUND = 500;

/** The work itself. Each order is done when the call returns; one that is done already is no error. */
export class OfflineLayers {
  readonly store: LayerStore;
  private readonly description: Pick<MachineDescription, 'disks'>;

  /** Finishes what a launcher before this one began. Throws DiskUnusable. */
  constructor(description: Pick<MachineDescription, 'disks'>) {
    this.description = description;
    this.store = new LayerStore(description);
    finish(this.store);
    finishSnapshots(this.store);
    this.store.collect();
  }

  /** Throws a VmsteadError before anything is touched. */
  take(order: SnapshotOrder): void {
    const { store } = this;
    if (store.snapshots().some(({ uid }) => uid === order.uid)) return;
    this.refuse(order);
    const at = new Date().toISOString();
    for (const disk of store.disks) {
      addLayer(store, disk, order, at);
      failpoint('offline:layer', 'after');
    }
    const facts = order.poweredOff ? { frozen: true as const } : {};
    for (const disk of store.disks) {
      store.publish(disk, completed(store.ensure(disk), order.uid, facts));
      failpoint('offline:complete', 'after');
    }
  }

  forget(uid: string): void {
    this.store.publishAll((tree) =>
      tree.snapshots.some((each) => each.uid === uid) ? withoutSnapshot(tree, uid) : tree,
    );
    this.store.collect();
    forgetMemory(uid);
  }

  /** Reads one layer through that has no checksum yet. Returns whether there was one. */
  async readOne(going: () => boolean): Promise<boolean> {
    for (const disk of this.store.disks) {
      const tree = this.store.get(disk);
      const [layer] = tree === undefined ? [] : unhashed(tree);
      if (layer === undefined) continue;
      const sum = await checksumOf(layerPath(disk, layer.file), true, going);
      const now = this.store.ensure(disk);
      if (sum !== undefined && unhashed(now).some(({ file }) => file === layer.file)) {
        this.store.publish(disk, withChecksum(now, layer.file, sum.sha256, sum.bytes));
      }
      return true;
    }
    return false;
  }

  private refuse({ name, memory, quiesce, poweredOff }: SnapshotOrder): void {
    const unusable = (message: string) => new VmsteadError('SnapshotUnusable', message);
    if (memory) throw unusable('the VM is off and has no memory');
    if (quiesce === 'Required' && !poweredOff) {
      throw unusable(
        'the guest did not power itself off, so that nobody knows whether its file systems are whole; take it with quiesce: Auto, or when the VM runs',
      );
    }
    for (const disk of this.store.disks) {
      if (lookAt(disk.first) === undefined) {
        throw unusable(`disk ${disk.name} was never made: the VM has not run yet; start it once`);
      }
      const backend = this.description.disks[disk.index]?.backend;
      const copies = backend?.type === 'file' && backend.flatten === true;
      if (copies && disk.format === 'qcow2' && isOnBase(disk.first)) {
        throw unusable(
          `disk ${disk.name} still copies its image, which goes on when the VM runs; take the snapshot then`,
        );
      }
    }
    refuseDisks(this.description, this.store, name);
  }
}

/** Does what the operator asks for until it is told to end. */
export async function lookAfterLayers(
  description: MachineDescription,
  life: Life,
  tokenPath: string,
): Promise<Ending> {
  const log = jsonLog(description);
  const { promise: ended, resolve: end } = Promise.withResolvers<Ending>();
  const stop = () => end({ result: 'Stopped', message: 'the layers of the disks are looked after' });
  process.on('SIGTERM', stop);
  if (life.stopRequestedAt() !== undefined) stop();
  let layers: OfflineLayers;
  try {
    layers = new OfflineLayers(description);
  } catch (error) {
    return endingOf(error);
  }
  let going = true;
  let channel: ChannelClient | undefined;
  if (description.channel !== undefined) {
    channel = new ChannelClient({
      channel: description.channel,
      tokenPath,
      log,
      hello: {
        type: 'hello',
        protocol: 1,
        launcherVersion: process.env.VMSTEAD_VERSION ?? 'dev',
        incarnation: description.incarnation,
        restarts: life.record.restarts,
        features: [SNAPSHOT_FEATURE],
      },
      report: () => ({ type: 'report', report: { state: 'Off', snapshots: reportOf(layers.store) } }),
      command: async (_id, command) => {
        throw new VmsteadError('VmNotRunning', `the VM is off; it cannot do ${command}`);
      },
      async snapshot(take, forget) {
        if (take !== undefined) layers.take(take);
        if (forget !== undefined) layers.forget(forget);
        channel?.changed();
      },
      disowned: (reason) =>
        end({
          result: 'Disowned',
          message: `the operator said that this launcher no longer owns the VM: ${reason}`,
        }),
    });
    void channel.run();
  }
  log.info({}, 'looking after the layers of a VM that is off');
  const tidy = (async () => {
    while (going) {
      if (await layers.readOne(() => going)) channel?.changed();
      else await Promise.race([sleep(ROUND), ended]);
    }
  })().catch((error: unknown) => log.warn({ err: String(error) }, 'layers were not read through'));
  const ending = await ended;
  going = false;
  await tidy;
  await channel?.end();
  return ending;
}
