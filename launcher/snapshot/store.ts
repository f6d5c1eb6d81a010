/** The layers of all disks of this VM: read once, written by nobody but this launcher. */
import { dirname, join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import { collected, type LayerTree, type Mark } from '../disks/layers.ts';
import { ensureTree, readTree, sweep, writeTree } from '../disks/layers-file.ts';

/** A disk whose writes are kept in layers. */
export interface LayeredDisk {
  /** Place in the description. */
  index: number;
  name: string;
  /** Path of its first file. */
  first: string;
  format: 'raw' | 'qcow2';
}

/** The disks that can have layers: in a filesystem claim that Vmstead made. */
function layeredDisks({ disks }: Pick<MachineDescription, 'disks'>): LayeredDisk[] {
  return disks.flatMap(({ name, backend, readOnly, device, shareable }, index) => {
    // What others write to cannot be frozen here.
    if (backend?.type !== 'file' || readOnly || device === 'cdrom' || shareable) return [];
    if (backend.create === undefined && backend.base === undefined) return [];
    return [{ index, name, first: backend.path, format: backend.format }];
  });
}

/** Names of disks that keep what is written to them and cannot have layers. */
export function unlayeredDisks({ disks }: Pick<MachineDescription, 'disks'>): string[] {
  const layered = new Set(layeredDisks({ disks }).map(({ name }) => name));
  return disks.flatMap(({ name, backend, readOnly, device }) =>
    backend === undefined ||
    backend.type === 'image' ||
    backend.type === 'ephemeral' ||
    readOnly ||
    device === 'cdrom' ||
    layered.has(name)
      ? []
      : [name],
  );
}

export class LayerStore {
  readonly disks: readonly LayeredDisk[];
  private readonly trees = new Map<string, LayerTree>();

  /** Throws DiskUnusable. */
  constructor(description: Pick<MachineDescription, 'disks'>) {
    this.disks = layeredDisks(description);
    for (const { name, first } of this.disks) {
      const tree = readTree(first);
      if (tree !== undefined) this.trees.set(name, tree);
    }
  }

  get(disk: LayeredDisk): LayerTree | undefined {
    return this.trees.get(disk.name);
  }

  ensure(disk: LayeredDisk): LayerTree {
    const tree = this.trees.get(disk.name) ?? ensureTree(disk.first, disk.format);
    this.trees.set(disk.name, tree);
    return tree;
  }

  publish(disk: LayeredDisk, tree: LayerTree): void {
    if (this.trees.get(disk.name) === tree) return;
    writeTree(disk.first, tree);
    this.trees.set(disk.name, tree);
  }

  /** Applies a change to every disk that has layers, one after the other. */
  publishAll(change: (tree: LayerTree) => LayerTree): void {
    for (const disk of this.disks) {
      const tree = this.trees.get(disk.name);
      if (tree !== undefined) this.publish(disk, change(tree));
    }
  }

  /** Takes layers that no chain needs off the lists, then deletes their files. Not while QEMU has them open. */
  collect(): void {
    for (const disk of this.disks) {
      const tree = this.trees.get(disk.name);
      if (tree === undefined) continue;
      const left = collected(tree);
      this.publish(disk, left.layers.length === tree.layers.length ? tree : left);
      sweep(disk.first, left);
    }
  }

  /** Complete snapshots, oldest first: one is complete on all disks when it is so on any. */
  snapshots(): Mark[] {
    const marks = new Map<string, Mark>();
    for (const disk of this.disks) {
      for (const mark of this.trees.get(disk.name)?.snapshots ?? []) {
        if (mark.complete || !marks.has(mark.uid)) marks.set(mark.uid, mark);
      }
    }
    return [...marks.values()].filter(({ complete }) => complete).sort((a, b) => (a.at < b.at ? -1 : 1));
  }

  /** Each disk's own mark of a snapshot. Throws SnapshotUnusable where one is missing. */
  marksOf(uid: string): { disk: LayeredDisk; tree: LayerTree; mark: Mark }[] {
    const known = this.snapshots().find((each) => each.uid === uid);
    if (known === undefined) {
      throw new VmsteadError(
        'SnapshotUnusable',
        `the disks have no snapshot ${uid}: it was deleted, or never complete`,
      );
    }
    return known.disks.map((name) => {
      const disk = this.disks.find((each) => each.name === name);
      const tree = disk && this.trees.get(name);
      const mark = tree?.snapshots.find((each) => each.uid === uid);
      if (disk !== undefined && tree !== undefined && mark !== undefined) return { disk, tree, mark };
      throw new VmsteadError(
        'SnapshotUnusable',
        `snapshot ${known.name} was taken of disk ${name}, which the machine does not have any more; add it to spec.disks again`,
      );
    });
  }
}

export function layerPath({ first }: LayeredDisk, file: string): string {
  return join(dirname(first), file);
}
