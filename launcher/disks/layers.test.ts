import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { armFailpoints } from '../../crds/failpoint.ts';
import {
  chainOf,
  collected,
  completed,
  firstTree,
  type LayerTree,
  layerTree,
  merged,
  merging,
  nextMerge,
  restored,
  rolledBack,
  settled,
  unhashed,
  withActive,
  withChecksum,
  withoutSnapshot,
  withSnapshot,
} from './layers.ts';
import { ensureTree, makeActive, readTree, sweep, writeTree } from './layers-file.ts';

const at = '2026-01-01T00:00:00Z';
const snapshot = (uid: string) => ({ uid, name: uid, at, disks: ['data'] });
const taken = (tree: LayerTree, uid: string) => completed(withSnapshot(tree, snapshot(uid)), uid);
const names = (tree: LayerTree, top = tree.active) => chainOf(tree, top).map((each) => each.file);

describe('the tree', () => {
  test('a snapshot freezes what was active', () => {
    const tree = taken(taken(firstTree('disk.img', 'raw'), 'a'), 'b');
    expect(names(tree)).toEqual(['disk.2.qcow2', 'disk.1.qcow2', 'disk.img']);
    expect(tree.snapshots.map((each) => each.layer)).toEqual(['disk.img', 'disk.1.qcow2']);
    expect(unhashed(tree).map((each) => each.file)).toEqual(['disk.img', 'disk.1.qcow2']);
  });

  test('a snapshot that QEMU did not take leaves no layer, and its number is never used again', () => {
    const before = firstTree('disk.img', 'raw');
    const tree = withoutSnapshot(withActive(withSnapshot(before, snapshot('a')), 'disk.img'), 'a');
    expect(names(collected(tree))).toEqual(['disk.img']);
    expect(withSnapshot(collected(tree), snapshot('b')).active).toBe('disk.2.qcow2');
  });

  test('a restore begins anew on the snapshot and keeps what was', () => {
    const tree = taken(taken(firstTree('disk.img', 'raw'), 'a'), 'b');
    const back = restored(tree, 'r', 'a');
    expect(names(back)).toEqual(['disk.3.qcow2', 'disk.img']);
    expect(names(collected(back), 'disk.2.qcow2')).toEqual(['disk.2.qcow2', 'disk.1.qcow2', 'disk.img']);
    expect(restored(back, 'r', 'a'), 'once').toEqual(back);
    expect(names(collected(rolledBack(back, 'r')))).toEqual(names(tree));
    const without = collected(withoutSnapshot(settled(back), 'b'));
    expect(without.layers.map((each) => each.file)).toEqual(['disk.img', 'disk.3.qcow2']);
  });

  test('layers between which nothing ends become one, but never the active one', () => {
    const tree = taken(taken(firstTree('disk.img', 'raw'), 'a'), 'b');
    expect(nextMerge(tree)).toBeUndefined();
    const without = collected(withoutSnapshot(withChecksum(tree, 'disk.img', 'x', 1), 'a'));
    const merge = nextMerge(without);
    expect(merge).toEqual({ into: 'disk.img', from: 'disk.1.qcow2' });
    const after = merged(merging(without, merge!), merge!);
    expect(names(after)).toEqual(['disk.2.qcow2', 'disk.img']);
    expect(after.snapshots).toMatchObject([{ uid: 'b', layer: 'disk.img' }]);
    expect(after.layers[0]).not.toHaveProperty('sha256');
    expect(nextMerge(collected(withoutSnapshot(after, 'b')))).toBeUndefined();
  });

  test('a list in a circle, or with a hole, is refused', () => {
    const tree = taken(firstTree('disk.img', 'raw'), 'a');
    tree.layers[0]!.below = 'disk.1.qcow2';
    expect(() => chainOf(tree, tree.active)).toThrow('in a circle');
    expect(() => chainOf({ ...tree, layers: tree.layers.slice(1) }, tree.active)).toThrow('names disk.img');
  });
});

/** A disk of 8 blocks as its layers' files would hold it. */
class Model {
  tree = firstTree('disk.img', 'raw');
  readonly files = new Map<string, Map<number, number>>([['disk.img', new Map()]]);
  disk: number[] = new Array(8).fill(0);
  readonly kept = new Map<string, number[]>();
  before: number[] | undefined;

  read(top = this.tree.active): number[] {
    const chain = names(this.tree, top).map((file) => this.files.get(file));
    return this.disk.map((_, block) => {
      for (const layer of chain) {
        if (layer === undefined) throw new Error(`a file of the chain of ${top} is gone`);
        const value = layer.get(block);
        if (value !== undefined) return value;
      }
      return 0;
    });
  }

  write(block: number, value: number): void {
    this.files.get(this.tree.active)!.set(block, value);
    this.disk[block] = value;
  }

  publish(tree: LayerTree): void {
    this.tree = layerTree.parse(tree);
    for (const { file } of this.tree.layers) if (!this.files.has(file)) this.files.set(file, new Map());
    for (const file of this.files.keys()) {
      if (!this.tree.layers.some((each) => each.file === file)) this.files.delete(file);
    }
  }

  check(): void {
    expect(this.read()).toEqual(this.disk);
    for (const { uid, layer } of this.tree.snapshots) expect(this.read(layer)).toEqual(this.kept.get(uid));
    if (this.tree.before !== undefined) expect(this.read(this.tree.before)).toEqual(this.before);
  }
}

test('whatever is snapshotted, restored, deleted and merged in whichever order: every chain reads as it did', () => {
  const step = fc.record({
    what: fc.constantFrom(
      'write',
      'snapshot',
      'forget',
      'restore',
      'roll back',
      'settle',
      'merge',
      'half a merge',
    ),
    block: fc.nat(7),
    which: fc.nat(5),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const model = new Model();
      for (const [index, { what, block, which }] of steps.entries()) {
        const uid = model.tree.snapshots[which % Math.max(1, model.tree.snapshots.length)]?.uid;
        if (what === 'write') model.write(block, index + 1);
        else if (what === 'snapshot') {
          model.kept.set(`s${index}`, [...model.disk]);
          model.publish(taken(model.tree, `s${index}`));
        } else if (what === 'forget' && uid !== undefined) {
          model.publish(collected(withoutSnapshot(model.tree, uid)));
        } else if (what === 'restore' && uid !== undefined) {
          model.before = [...model.disk];
          model.publish(collected(restored(model.tree, `r${index}`, uid)));
          model.disk = [...model.kept.get(uid)!];
        } else if (what === 'roll back' && model.tree.before !== undefined) {
          model.publish(collected(rolledBack(model.tree, model.tree.restored!.uid)));
          model.disk = [...model.before!];
        } else if (what === 'settle') model.publish(collected(settled(model.tree)));
        else if (what === 'merge' || what === 'half a merge') {
          const merge = nextMerge(model.tree);
          if (merge === undefined) continue;
          model.publish(merging(model.tree, merge));
          const [into, from] = [model.files.get(merge.into)!, model.files.get(merge.from)!];
          for (const [at, value] of from) if (what === 'merge' || at % 2 === 0) into.set(at, value);
          model.check();
          if (what === 'merge') model.publish(merged(model.tree, merge));
        }
        model.check();
      }
      while (nextMerge(model.tree)) model.publish(merged(model.tree, fillMerge(model)));
      model.check();
      const ends = new Set([...model.tree.snapshots.map((each) => each.layer), model.tree.before]);
      expect(names(model.tree).length).toBeLessThanOrEqual(ends.size + 2 + forks(model.tree));
    }),
    { numRuns: 300 },
  );
});

function fillMerge(model: Model) {
  const merge = nextMerge(model.tree)!;
  for (const [at, value] of model.files.get(merge.from)!) model.files.get(merge.into)!.set(at, value);
  return merge;
}

/** Layers that several others stand on. */
function forks(tree: LayerTree): number {
  return tree.layers.filter((each) => tree.layers.filter(({ below }) => below === each.file).length > 1)
    .length;
}

describe('on a volume', () => {
  let folder: string;
  let first: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vmstead-layers-'));
    first = join(folder, 'disk.img');
    writeFileSync(first, '');
    truncateSync(first, 1 << 20);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function freeze(uid: string): LayerTree {
    const tree = withSnapshot(ensureTree(first, 'raw'), snapshot(uid));
    makeActive(first, tree);
    writeTree(first, tree);
    return tree;
  }

  test('a disk that was never snapshotted has no list, and one whose list is lost is refused', () => {
    expect(readTree(first)).toBeUndefined();
    expect(readTree(join(folder, 'not-made-yet', 'disk.img'))).toBeUndefined();
    freeze('a');
    expect(readTree(first)?.active).toBe('disk.1.qcow2');
    rmSync(join(folder, 'layers.json'));
    expect(() => readTree(first)).toThrow('holds disk.1.qcow2 but no layers.json');
    writeFileSync(join(folder, 'layers.json'), '{');
    expect(() => readTree(first)).toThrow('is not a list of layers');
  });

  test('a kill anywhere leaves the old list or the new one, with every file that it names', () => {
    for (const point of ['layers:write=kill@before', 'layers:write=kill@after', 'layers:made=kill@after']) {
      for (const nth of [1, 2]) {
        const before = readTree(first);
        {
          using _ = armFailpoints(`${point}:${nth}`, () => {
            throw new Error('killed');
          });
          try {
            freeze('x');
          } catch {}
        }
        const tree = readTree(first);
        if (tree === undefined) continue;
        if (before !== undefined)
          expect([before.generation, before.generation + 1]).toContain(tree.generation);
        for (const { file } of tree.layers) expect(existsSync(join(folder, file))).toBe(true);
        sweep(first, tree);
        expect(readdirSync(folder).filter((each) => each.endsWith('.qcow2'))).toHaveLength(
          tree.layers.length - 1,
        );
      }
    }
  });

  test('what no list names is swept, and nothing else', () => {
    const tree = freeze('a');
    writeFileSync(join(folder, 'disk.7.qcow2'), '');
    writeFileSync(join(folder, 'disk.qcow2.bak'), '');
    expect(sweep(first, tree)).toEqual(['disk.7.qcow2']);
    expect(readdirSync(folder).sort()).toEqual(['disk.1.qcow2', 'disk.img', 'disk.qcow2.bak', 'layers.json']);
  });

  test('a layer names the one below it in its header', () => {
    freeze('a');
    freeze('b');
    const header = readFileSync(join(folder, 'disk.2.qcow2'));
    const offset = Number(header.readBigUInt64BE(8));
    expect(header.toString('ascii', offset, offset + header.readUInt32BE(16))).toBe('disk.1.qcow2');
    expect(Number(header.readBigUInt64BE(24))).toBe(1 << 20);
    expect(header.toString('ascii', 120, 125)).toBe('qcow2');
  });
});
