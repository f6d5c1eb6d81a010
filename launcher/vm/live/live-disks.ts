/**
 * Disks of a machine that runs, brought to what its description says by now: looked at, compared, changed.
 * Nothing depends on what was missed, so that a launcher which was started again just looks again.
 */
import type { DiskReport, DownMessage } from '../../../crds/channel.ts';
import type { MachineDisk } from '../../../crds/machine-description.ts';
import { diskNode } from '../../machine/disks.ts';
import type { QmpClient } from '../../qmp/client.ts';
import type { BlockInfo } from '../../qmp/commands.ts';
import { QmpClosedError } from '../../qmp/errors.ts';
import type { Vm } from '../vm.ts';
import { grownBytes } from './growth.ts';
import { limitsIn, sameLimits, throttleOf } from './limits.ts';
import { moveMedium } from './media.ts';
import { Plugging } from './plugging.ts';
import { driveId } from './qdev.ts';

/** Milliseconds between two looks at what has no event: volumes that grow, guests that hold their tray. */
const LOOK_INTERVAL = 5_000;

export class LiveDisks {
  private readonly vm: Vm;
  private readonly onChange: () => void;
  private readonly plugging: Plugging;
  /** By name. */
  private readonly told = new Map<string, DiskReport>();
  /** Since when the guest has been asked for its medium. */
  private readonly asked = new Map<string, number>();
  private busy: Promise<void> | undefined;
  private again = false;
  private done = 0;

  constructor(vm: Vm, onChange: () => void) {
    this.vm = vm;
    this.onChange = onChange;
    this.plugging = new Plugging(vm);
    vm.onConnected.push(() => void this.look());
    vm.onEvent.push((event) => {
      if (event.event === 'DEVICE_TRAY_MOVED' || event.event === 'DEVICE_DELETED') void this.look();
    });
    setInterval(() => void this.lookIfNeeded(), LOOK_INTERVAL).unref();
    void this.look();
  }

  /** The newest revision that was carried out, as far as QEMU let it. */
  get revision(): number {
    return this.done;
  }

  reports(): DiskReport[] {
    return this.vm.machineDisks.map(({ name }) => this.told.get(name) ?? { name });
  }

  /** Takes what the operator wants; an older wish than the one that is known is an echo. */
  async want({ revision, disks, keys = {} }: Extract<DownMessage, { type: 'machine' }>): Promise<void> {
    if (revision >= this.vm.revision) this.plugging.learn(keys);
    if (revision > this.vm.revision) this.vm.options.life.change({ machine: { revision, disks } });
    await this.look();
  }

  /** Looks at everything, one look at a time; a wish that comes meanwhile is looked at after it. */
  look(): Promise<void> {
    this.again = true;
    this.busy ??= (async () => {
      while (this.again) {
        this.again = false;
        await this.lookOnce();
      }
      this.busy = undefined;
    })();
    return this.busy;
  }

  /** Without a question to QEMU while everything is as it should be. */
  private async lookIfNeeded(): Promise<void> {
    const pending = this.vm.machineDisks.some((disk, index) => {
      const told = this.told.get(disk.name);
      const prepared = this.vm.disks[index];
      if (told?.problem !== undefined) return true;
      if (told?.capacityBytes === undefined || !prepared) return false;
      return this.grown(disk, prepared, told.capacityBytes) !== undefined;
    });
    if (pending) await this.look();
  }

  private grown(disk: MachineDisk, prepared: NonNullable<Vm['disks'][number]>, bytes: number) {
    // QEMU changes no size under an export; it grows when that has ended.
    if (this.vm.options.life.record.export?.disk === disk.name) return undefined;
    try {
      return grownBytes(disk, prepared, bytes);
    } catch {
      // A volume that does not answer has not grown.
      return undefined;
    }
  }

  private async lookOnce(): Promise<void> {
    const { qmp, revision, machineDisks } = this.vm;
    if (qmp === undefined) return;
    try {
      const problems = await this.plugging.bring(qmp, machineDisks);
      const blocks = await qmp.execute('query-block');
      const sizes = await sizesOf(qmp);
      const before = JSON.stringify([this.done, ...this.told.values()]);
      for (const [index, disk] of machineDisks.entries()) {
        const block = blocks.find(({ qdev }) => qdev === driveId(disk));
        // The node on top: not the disk's first one where there are snapshots.
        const node = block?.inserted?.['node-name'] ?? diskNode(index);
        const report = await this.bring(qmp, disk, index, block, { node, bytes: sizes.get(node) });
        const problem = problems.get(disk.name);
        this.told.set(disk.name, problem === undefined ? report : { ...report, problem });
      }
      this.done = revision;
      if (JSON.stringify([this.done, ...this.told.values()]) !== before) this.onChange();
    } catch (error) {
      if (!(error instanceof QmpClosedError)) this.vm.options.log.warn({ err: String(error) }, 'disks');
    }
  }

  /** Changes one disk as far as it goes, and tells what is true of it then. */
  private async bring(
    qmp: QmpClient,
    disk: MachineDisk,
    index: number,
    block: BlockInfo | undefined,
    { node, bytes }: { node: string; bytes: number | undefined },
  ): Promise<DiskReport> {
    const prepared = this.vm.disks[index];
    const report: DiskReport = { name: disk.name };
    const problems: string[] = [];
    const attempt = async (what: () => Promise<void>) => {
      try {
        await what();
      } catch (error) {
        if (error instanceof QmpClosedError) throw error;
        problems.push((error as Error).message);
      }
    };
    if (disk.device === 'cdrom' && block !== undefined) {
      await attempt(async () => {
        report.media = await moveMedium(qmp, disk, block, diskNode(index), this.asked);
      });
    }
    const inside = disk.device === 'disk' || report.media !== 'Empty';
    if (prepared && inside && bytes !== undefined) {
      report.format = prepared.format;
      report.cache = prepared.direct ? 'none' : (disk.cache ?? 'writeback');
      report.aio = prepared.aio === 'native' && !prepared.direct ? 'threads' : prepared.aio;
      report.capacityBytes = bytes;
      const size = this.grown(disk, prepared, bytes);
      if (size !== undefined) {
        await attempt(async () => {
          await qmp.execute('block_resize', { 'node-name': node, size }, { timeout: 60_000 });
          this.vm.options.log.info({ disk: disk.name, from: bytes, to: size }, 'disk grown');
          report.capacityBytes = size;
        });
      }
    }
    if (disk.backend?.type === 'attached' && bytes !== undefined && block !== undefined) {
      Object.assign(report, { format: 'raw', capacityBytes: bytes });
    }
    const inserted = block?.inserted;
    if (disk.device === 'disk' && inserted !== undefined) {
      let now = limitsIn(inserted);
      if (!sameLimits(now, disk.limits)) {
        await attempt(async () => {
          await qmp.execute('block_set_io_throttle', { id: driveId(disk), ...throttleOf(disk.limits) });
          now = { ...disk.limits };
        });
      }
      if (Object.keys(now).length > 0) report.limits = now;
    }
    if (problems.length > 0) report.problem = problems.join('; ').slice(0, 1024);
    return report;
  }
}

async function sizesOf(qmp: QmpClient): Promise<Map<string, number>> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  return new Map(nodes.map((node) => [node['node-name'] ?? '', node.image['virtual-size']]));
}
