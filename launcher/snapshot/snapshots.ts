/** The snapshots of a running VM: one change at a time, what was begun is finished or undone, the rest tidied up. */
import { setTimeout as sleep } from 'node:timers/promises';
import { VmsteadError } from '../../crds/errors.ts';
import type { SnapshotOrder, SnapshotReport } from '../../crds/snapshot-order.ts';
import {
  collected,
  completed,
  nextMerge,
  settled,
  unhashed,
  withActive,
  withChecksum,
  withoutSnapshot,
} from '../disks/layers.ts';
import { sweep } from '../disks/layers-file.ts';
import type { GuestAgent } from '../guest/freeze.ts';
import type { QmpClient } from '../qmp/client.ts';
import { QmpClosedError } from '../qmp/errors.ts';
import type { Vm } from '../vm/vm.ts';
import { checksumOf } from './checksum.ts';
import { activeNode, closeLayer, nodeOfFile } from './graph.ts';
import { finishIncoming, setClock } from './incoming.ts';
import { forgetMemory, memoryPath, readPage, sweepMemory, writePage } from './memory.ts';
import { mergeLayers, stopMerges } from './merge.ts';
import { reportOf } from './report.ts';
import { LayerStore, layerPath } from './store.ts';
import { take } from './take.ts';
import { resume } from './wait.ts';

/** Milliseconds that a restored guest runs before what was there before it is let go of. */
const SETTLED_AFTER = 60_000;
/** Milliseconds between two rounds of tidying up. */
const ROUND = 2000;

export class Snapshots {
  private readonly vm: Vm;
  private readonly agent: GuestAgent;
  /** Read when QEMU is there: until then a restore may change what is on the disks. */
  private store = new LayerStore({ disks: [] });
  private readonly underWay = new Map<string, Promise<void>>();
  /** One change of layers at a time. */
  private turn: Promise<unknown> = Promise.resolve();
  /** Orders that wait or run: merges and checksums give way. */
  private orders = 0;
  private ended = false;
  /** This connection to QEMU has been looked over. An order may come before anybody else gets to it. */
  private inOrder = false;

  constructor(vm: Vm, agent: GuestAgent) {
    this.vm = vm;
    this.agent = agent;
    vm.onConnected.push(() => void this.connected());
    if (vm.qmp !== undefined) void this.connected();
    void this.tidy();
  }

  /** Takes a snapshot; one that is there already is no error. Rejects with a VmsteadError. */
  async take(order: SnapshotOrder): Promise<void> {
    const known = this.underWay.get(order.uid);
    if (known !== undefined) return await known;
    const taking = this.inTurn((qmp) => this.takeNow(qmp, order)).finally(() => {
      this.underWay.delete(order.uid);
      this.vm.options.onChange();
    });
    this.underWay.set(order.uid, taking);
    await taking;
  }

  /** Lets go of a snapshot; one that is not there is no error. */
  async forget(uid: string): Promise<void> {
    await this.inTurn(async () => {
      this.store.publishAll((tree) =>
        tree.snapshots.some((each) => each.uid === uid) ? withoutSnapshot(tree, uid) : tree,
      );
      this.store.collect();
      forgetMemory(uid);
    });
    this.vm.options.onChange();
  }

  /**
   * Does what must not meet a change of layers, nor a copy between them; no merge runs, and none is begun while an
   * export is on record. Rejects with SnapshotWaits while a disk copies its image.
   */
  async alone<T>(task: (qmp: QmpClient, store: LayerStore) => Promise<T>): Promise<T> {
    return await this.inTurn(async (qmp) => {
      await this.stopCopies(qmp);
      return await task(qmp, this.store);
    });
  }

  report(): SnapshotReport[] {
    return reportOf(this.store);
  }

  end(): void {
    this.ended = true;
  }

  private async inTurn<T>(task: (qmp: QmpClient) => Promise<T>): Promise<T> {
    this.orders++;
    const before = this.turn;
    const mine = (async () => {
      await before.catch(() => {});
      const { qmp } = this.vm;
      if (qmp === undefined) throw new VmsteadError('QmpClosed', 'QEMU is not there to change its disks');
      if (!this.inOrder) await this.putInOrder(qmp);
      return await task(qmp);
    })();
    this.turn = mine;
    try {
      return await mine;
    } finally {
      this.orders--;
    }
  }

  private async stopCopies(qmp: QmpClient): Promise<void> {
    await stopMerges(this.vm, qmp, this.store.disks);
    const others = (await qmp.execute('query-jobs')).filter(({ type }) => type === 'stream');
    if (others.length === 0) return;
    throw new VmsteadError(
      'SnapshotWaits',
      'a disk still copies its image; this waits until it is independent of it',
    );
  }

  private async takeNow(qmp: QmpClient, order: SnapshotOrder): Promise<void> {
    if (this.store.snapshots().some((each) => each.uid === order.uid)) return;
    const { log, life } = this.vm.options;
    const exported = life.record.export;
    if (exported !== undefined) {
      throw new VmsteadError(
        'SnapshotWaits',
        `disk ${exported.disk} is being exported; the snapshot is taken after that`,
      );
    }
    await this.stopCopies(qmp);
    log.info({ snapshot: order.name, memory: order.memory }, 'taking a snapshot');
    try {
      await take(this.vm, qmp, this.store, this.agent, order);
    } catch (error) {
      log.warn({ snapshot: order.name, err: String(error) }, 'the snapshot failed');
      await this.undo(qmp, order.uid, life.record.snapshot?.paused ?? false);
      throw error;
    }
    life.forget('snapshot');
    log.info({ snapshot: order.name }, 'snapshot taken');
  }

  /** A new launcher, or a new QEMU: finishes what the one before began. */
  private async connected(): Promise<void> {
    const { log } = this.vm.options;
    this.inOrder = false;
    try {
      await this.inTurn(async () => {});
    } catch (error) {
      if (!(error instanceof QmpClosedError)) log.error({ err: String(error) }, 'snapshots are not in order');
    }
    this.vm.options.onChange();
  }

  private async putInOrder(qmp: QmpClient): Promise<void> {
    const { life, description } = this.vm.options;
    this.store = new LayerStore(description);
    const begun = life.record.snapshot;
    if (begun !== undefined) await this.undo(qmp, begun.uid, begun.paused);
    await finishIncoming(this.vm, qmp, this.store);
    this.inOrder = true;
  }

  /**
   * Ends a snapshot that was begun, whoever began it. One that is marked complete on any disk is complete; what
   * QEMU did not take is undone, what it took stays and is merged.
   */
  private async undo(qmp: QmpClient, uid: string, paused: boolean): Promise<void> {
    const { store, vm } = this;
    await cancelMigration(qmp);
    if (!paused) await resume(qmp);
    await vm.refresh();
    const whole = store.snapshots().some((each) => each.uid === uid);
    for (const disk of store.disks) {
      const tree = store.get(disk);
      const mark = tree?.snapshots.find((each) => each.uid === uid);
      if (tree === undefined || mark === undefined || mark.complete) continue;
      if (whole) {
        store.publish(disk, completed(tree, uid));
        continue;
      }
      const overlay = await nodeOfFile(qmp, disk, tree.active);
      if (overlay !== undefined && (await activeNode(qmp, disk)) === overlay) {
        store.publish(disk, withoutSnapshot(tree, uid));
        continue;
      }
      const before = withoutSnapshot(withActive(tree, mark.layer), uid);
      store.publish(disk, before);
      if (overlay !== undefined) await closeLayer(qmp, overlay);
      // A launcher that died before it had named the nodes' file left them without.
      sweep(disk.first, before);
    }
    if (!whole) forgetMemory(uid);
    vm.options.life.forget('snapshot');
  }

  /** Checksums, merges, and what a restore kept: whenever nothing else is to be done. */
  private async tidy(): Promise<void> {
    while (!this.ended) {
      try {
        if (this.orders === 0 && this.vm.qmp !== undefined && this.vm.state === 'Running') {
          // Of a launcher before this one; the agent may come to answer only now.
          if (this.vm.options.life.record.frozen) await this.agent.thaw();
          await this.settle();
          await setClock(this.vm, this.agent);
          if (!(await this.checksums())) await this.merge();
        }
      } catch (error) {
        if (!(error instanceof QmpClosedError))
          this.vm.options.log.warn({ err: String(error) }, 'layers were not tidied up');
      }
      await sleep(ROUND, undefined, { ref: false });
    }
  }

  /** The restored guest runs: lets go of what was before. */
  private async settle(): Promise<void> {
    const { life } = this.vm.options;
    if (!this.store.disks.some((disk) => this.store.get(disk)?.before !== undefined)) return;
    const since = Date.parse(life.record.machineReadyAt ?? '');
    if (life.record.guestReady === undefined && !(Date.now() - since > SETTLED_AFTER)) return;
    await this.inTurn(async () => {
      this.store.publishAll((tree) => (tree.before === undefined ? tree : settled(tree)));
      this.store.collect();
    });
  }

  /** Returns whether there was one to be made. */
  private async checksums(): Promise<boolean> {
    const going = () => this.orders === 0 && !this.ended;
    for (const disk of this.store.disks) {
      const tree = this.store.get(disk);
      const [layer] = tree === undefined || nextMerge(tree) !== undefined ? [] : unhashed(tree);
      if (layer === undefined) continue;
      const sum = await checksumOf(layerPath(disk, layer.file), false, going);
      if (sum === undefined) return true;
      await this.inTurn(async () => {
        const now = this.store.ensure(disk);
        if (unhashed(now).some((each) => each.file === layer.file)) {
          this.store.publish(disk, withChecksum(now, layer.file, sum.sha256, sum.bytes));
        }
      });
      this.vm.options.onChange();
      return true;
    }
    const known = this.store.snapshots();
    sweepMemory(new Set([...known.map(({ uid }) => uid), this.vm.options.life.record.snapshot?.uid ?? '']));
    for (const { uid } of known) {
      const page = readPage(uid);
      if (page === undefined || page.sha256 !== undefined) continue;
      const sum = await checksumOf(memoryPath(uid), false, going);
      if (sum !== undefined && readPage(uid) !== undefined) writePage({ ...page, ...sum });
      this.vm.options.onChange();
      return true;
    }
    return false;
  }

  private async merge(): Promise<void> {
    const { qmp } = this.vm;
    if (qmp === undefined || this.vm.options.life.record.export !== undefined) return;
    for (const disk of this.store.disks) {
      const tree = this.store.get(disk);
      const merge = tree && nextMerge(collected(tree));
      if (tree === undefined || merge === undefined) continue;
      await mergeLayers(this.vm, qmp, this.store, disk, merge);
      return;
    }
  }
}

/** Ends a migration that was begun, whatever became of it; the guest stands still afterwards or runs. */
async function cancelMigration(qmp: QmpClient): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { status } = await qmp.execute('query-migrate');
    if (status === undefined || ['none', 'completed', 'failed', 'cancelled'].includes(status)) return;
    if (status !== 'cancelling') await qmp.execute('migrate_cancel');
    await sleep(50);
  }
}
