/**
 * The layers of a disk: a tree of files of which each holds what was written since the one below it was frozen.
 * One of them is active; the others never change again, but for a merge. Pure: what is written when is in
 * `layers-file.ts`, and the rules that make every kill harmless are here.
 *
 * 1. An empty layer on top changes nothing that is read. So the list may name a layer before QEMU uses it, and
 *    must name it before that: what QEMU acknowledged is then never in a file that the list does not know.
 * 2. A layer is taken off the list only when no chain that counts needs it, and its file is deleted after that.
 * 3. A snapshot counts when it is marked complete on any of its disks: the mark is set on the first one after
 *    QEMU has frozen all of them in one step, and after the memory is on its storage.
 */
import * as z from 'zod';
import { VmsteadError } from '../../crds/errors.ts';

const file = z.string().regex(/^disk\.([0-9]+\.)?(img|qcow2)$/);

const layer = z.strictObject({
  file,
  format: z.enum(['raw', 'qcow2']),
  /** Absent: the first layer; what may lie below that is no part of the disk's own folder. */
  below: file.optional(),
  /** Of a frozen layer, once it was read through; absent also while a merge changes the file. */
  sha256: z.string().optional(),
  bytes: z.int().optional(),
});
export type Layer = z.infer<typeof layer>;

const mark = z.strictObject({
  uid: z.string(),
  name: z.string(),
  /** The layer that was active, and so holds the disk as it was then, with those below it. */
  layer: file,
  /** ISO time. */
  at: z.string(),
  /** Every disk of the snapshot. */
  disks: z.array(z.string()),
  complete: z.boolean(),
  /** The guest's memory is kept with it. */
  memory: z.literal(true).optional(),
  /** The guest's file systems were written out and held still. */
  frozen: z.literal(true).optional(),
  /** Milliseconds that the guest stood still. */
  pause: z.int().optional(),
});
export type Mark = z.infer<typeof mark>;

/** A change to several disks that was begun: it is finished at the next start, whatever happened. */
const intent = z.strictObject({
  restore: z.string(),
  /** Absent: back to what was active before that restore. */
  snapshot: z.string().optional(),
  /** The snapshot's memory is wanted as well. */
  memory: z.literal(true).optional(),
});

export const layerTree = z.strictObject({
  version: z.literal(1),
  /** Counts the layers ever made: no two have one name, so that a stale file is never taken for a new one. */
  generation: z.int(),
  active: file,
  layers: z.array(layer).min(1),
  snapshots: z.array(mark),
  /** The last restore that was carried out on this disk. */
  restored: z
    .strictObject({ uid: z.string(), snapshot: z.strictObject({ uid: z.string(), name: z.string() }) })
    .optional(),
  /** What was active before it; kept until the restored VM is known to run. */
  before: file.optional(),
  /** On the first disk: the memory that is to be loaded before anything runs on these layers. */
  memory: z.string().optional(),
  intent: intent.optional(),
});
export type LayerTree = z.infer<typeof layerTree>;

/** A disk that was never snapshotted. */
export function firstTree(first: string, format: Layer['format']): LayerTree {
  return { version: 1, generation: 0, active: first, layers: [{ file: first, format }], snapshots: [] };
}

function find(tree: LayerTree, name: string): Layer {
  const found = tree.layers.find((each) => each.file === name);
  if (found !== undefined) return found;
  throw new VmsteadError(
    'DiskUnusable',
    `the list of layers names ${name} but does not have it; restore layers.json from a backup`,
  );
}

/** A layer and all below it, the top first. Throws DiskUnusable for a list that is none. */
export function chainOf(tree: LayerTree, top: string): Layer[] {
  const chain: Layer[] = [];
  for (let next: string | undefined = top; next !== undefined; ) {
    const here = find(tree, next);
    if (chain.length >= tree.layers.length) {
      throw new VmsteadError('DiskUnusable', 'the list of layers runs in a circle; restore layers.json');
    }
    chain.push(here);
    next = here.below;
  }
  return chain;
}

/** A new empty active layer on `below`. */
function withActiveOn(tree: LayerTree, below: string): LayerTree {
  const generation = tree.generation + 1;
  const made = `disk.${generation}.qcow2`;
  return {
    ...tree,
    generation,
    active: made,
    layers: [...tree.layers, { file: made, format: 'qcow2', below }],
  };
}

/** Freezes the active layer and marks it: not complete before `completed`. */
export function withSnapshot(tree: LayerTree, snapshot: Omit<Mark, 'layer' | 'complete'>): LayerTree {
  const layer = tree.active;
  return {
    ...withActiveOn(tree, layer),
    snapshots: [...tree.snapshots, { ...snapshot, layer, complete: false }],
  };
}

export function completed(
  tree: LayerTree,
  uid: string,
  facts: Pick<Mark, 'frozen' | 'pause'> = {},
): LayerTree {
  const snapshots = tree.snapshots.map((each) =>
    each.uid === uid ? { ...each, ...facts, complete: true } : each,
  );
  return { ...tree, snapshots };
}

export function withoutSnapshot(tree: LayerTree, uid: string): LayerTree {
  return { ...tree, snapshots: tree.snapshots.filter((each) => each.uid !== uid) };
}

/** Back to `active`, where QEMU never took the layer that was made on it. */
export function withActive(tree: LayerTree, active: string): LayerTree {
  find(tree, active);
  return collected({ ...tree, active });
}

/** A new active layer on what the snapshot froze; what was active is kept as `before`. */
export function restored(tree: LayerTree, restore: string, snapshot: string): LayerTree {
  if (tree.restored?.uid === restore) return withoutIntent(tree);
  const found = tree.snapshots.find((each) => each.uid === snapshot);
  if (found === undefined) {
    throw new VmsteadError('SnapshotUnusable', `the disk has no layer of snapshot ${snapshot}`);
  }
  return {
    ...withoutIntent(withActiveOn(tree, found.layer)),
    restored: { uid: restore, snapshot: { uid: found.uid, name: found.name } },
    before: tree.active,
  };
}

/** Undoes a restore whose VM never came to run. */
export function rolledBack(tree: LayerTree, restore: string): LayerTree {
  const { before, memory: _memory, ...rest } = withoutIntent(tree);
  if (tree.restored?.uid !== restore || before === undefined) return withoutIntent(tree);
  const { restored: _, ...undone } = rest;
  return { ...undone, active: before };
}

function withoutIntent({ intent: _, ...rest }: LayerTree): LayerTree {
  return rest;
}

/** The memory is loaded, or will not be: what runs from now on changes the disks that it belongs to. */
export function withoutMemory({ memory: _, ...rest }: LayerTree): LayerTree {
  return rest;
}

/** The restored VM runs: what was before is needed no more. */
export function settled({ before: _, ...rest }: LayerTree): LayerTree {
  return rest;
}

/** Tops of the chains that count. */
function tops(tree: LayerTree): string[] {
  return [
    tree.active,
    ...(tree.before === undefined ? [] : [tree.before]),
    ...tree.snapshots.map((each) => each.layer),
  ];
}

/** Without the layers that no chain needs. */
export function collected(tree: LayerTree): LayerTree {
  const needed = new Set(tops(tree).flatMap((top) => chainOf(tree, top).map((each) => each.file)));
  return { ...tree, layers: tree.layers.filter((each) => needed.has(each.file)) };
}

export interface Merge {
  /** Grows by what is in `from`, and stands for both afterwards. */
  into: string;
  from: string;
}

/**
 * The next two layers of the active chain that may become one: nothing ends at the lower one, and only the upper
 * one stands on it. The active layer itself is never merged: QEMU could not change it and the list in one step.
 */
export function nextMerge(tree: LayerTree): Merge | undefined {
  const ends = new Set(tops(tree));
  const chain = chainOf(tree, tree.active).reverse();
  for (const [index, lower] of chain.entries()) {
    const upper = chain[index + 1];
    if (upper === undefined || upper.file === tree.active) return undefined;
    const children = tree.layers.filter((each) => each.below === lower.file);
    if (children.length === 1 && !ends.has(lower.file)) return { into: lower.file, from: upper.file };
  }
  return undefined;
}

/** The lower file is about to change: what was known of it holds no more. */
export function merging(tree: LayerTree, { into }: Merge): LayerTree {
  const layers = tree.layers.map((each): Layer => {
    if (each.file !== into) return each;
    const { sha256: _sum, bytes: _bytes, ...rest } = each;
    return rest;
  });
  return { ...tree, layers };
}

/** The lower file holds everything of both. */
export function merged(tree: LayerTree, { into, from }: Merge): LayerTree {
  const moved = (name: string) => (name === from ? into : name);
  return {
    ...tree,
    ...(tree.before === undefined ? {} : { before: moved(tree.before) }),
    layers: tree.layers
      .filter((each) => each.file !== from)
      .map((each) => (each.below === undefined ? each : { ...each, below: moved(each.below) })),
    snapshots: tree.snapshots.map((each) => ({ ...each, layer: moved(each.layer) })),
  };
}

export function withChecksum(tree: LayerTree, name: string, sha256: string, bytes: number): LayerTree {
  const layers = tree.layers.map((each) => (each.file === name ? { ...each, sha256, bytes } : each));
  return { ...tree, layers };
}

/** Frozen layers of complete snapshots whose checksum is not known yet, oldest first. */
export function unhashed(tree: LayerTree): Layer[] {
  const marked = tree.snapshots.filter((each) => each.complete).map((each) => each.layer);
  const needed = new Set(marked.flatMap((top) => chainOf(tree, top).map((each) => each.file)));
  return tree.layers.filter((each) => needed.has(each.file) && each.sha256 === undefined);
}
