/** A disk as a snapshot has it, from the layers in the claim of its VM: as raw bytes, whether that VM runs or not. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MoverSource } from '../../crds/mover.ts';
import { chainOf, type LayerTree } from '../../launcher/disks/layers.ts';
import { readTree } from '../../launcher/disks/layers-file.ts';
import { isOnBase } from '../../launcher/disks/on-base.ts';
import { errno } from '../../launcher/errno.ts';
import { MoverFailure, unusable } from '../failure.ts';
import { LayerChain } from './layer-chain.ts';
import type { Source } from './source.ts';

type SnapshotJob = Extract<MoverSource, { type: 'snapshot' }>;

/** Two layers may become one between the list and the opening of its files. */
const TRIES = 10;
const AGAIN = 500;

export class SnapshotSource implements Source {
  readonly mostRestarts = 3;
  readonly about = { type: 'snapshot' } as const;
  /** What the guest wrote at the beginning of its disk is no header of an image. */
  readonly raw = true;
  private readonly job: SnapshotJob;
  private readonly again: number;
  private size: number | undefined;

  /** @param again milliseconds until files that were not there are looked for again */
  constructor(job: SnapshotJob, again = AGAIN) {
    this.job = job;
    this.again = again;
  }

  get total(): number | undefined {
    return this.size;
  }

  get version(): string | undefined {
    return this.size === undefined ? undefined : `${this.job.snapshot}:${this.size}`;
  }

  async *read(from: number): AsyncGenerator<Buffer, void> {
    await using chain = await this.open();
    this.size = chain.virtualBytes;
    yield* chain.read(from);
    // One that was deleted meanwhile may have been written to.
    this.marked();
  }

  private async open(): Promise<LayerChain> {
    for (let tries = 1; ; tries++) {
      const { tree, layer } = this.marked();
      const files = chainOf(tree, layer).map(({ file, format }) => ({
        path: join(this.job.directory, file),
        format,
      }));
      const lowest = files.at(-1);
      try {
        if (lowest?.format === 'qcow2' && isOnBase(lowest.path)) {
          throw unusable(
            'the disk stands on a VirtualMachineImage (clone: Linked), which no copy of it is made without; make the new VM from that image',
          );
        }
        return await LayerChain.open(files);
      } catch (error) {
        if (errno(error) !== 'ENOENT' || tries === TRIES) throw error;
        await sleep(this.again);
      }
    }
  }

  /** Throws SnapshotUnusable where the claim does not have the snapshot. */
  private marked(): { tree: LayerTree; layer: string } {
    const { directory, snapshot } = this.job;
    const tree = readTree(join(directory, 'disk.img'));
    const mark = tree?.snapshots.find(({ uid }) => uid === snapshot);
    if (tree !== undefined && mark !== undefined) return { tree, layer: mark.layer };
    throw new MoverFailure(
      'SnapshotUnusable',
      'the disk does not have the snapshot (any more): it was deleted',
    );
  }
}
