/** The layers of a disk on its volume: the list, written whole by rename, and the files that it names. */
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import { failpoint } from '../../crds/failpoint.ts';
import { errno } from '../errno.ts';
import { firstTree, type Layer, type LayerTree, layerTree } from './layers.ts';
import { createLayer, virtualBytes } from './qcow2.ts';

const LIST = 'layers.json';
const NUMBERED = /^disk\.([0-9]+)\.qcow2$/;

/**
 * The list of a disk, or undefined where it was never snapshotted. Throws DiskUnusable where it cannot be read,
 * or is lost while its layers are there: the first file alone would be the disk as it was long ago.
 */
export function readTree(first: string): LayerTree | undefined {
  const folder = dirname(first);
  let text: string;
  try {
    text = readFileSync(join(folder, LIST), 'utf8');
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw error;
    const stray = layerFiles(folder)[0];
    if (stray === undefined) return undefined;
    throw new VmsteadError(
      'DiskUnusable',
      `${folder} holds ${stray} but no ${LIST}, so that nobody knows which layers make the disk; restore ${LIST} from a backup`,
    );
  }
  const parsed = layerTree.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  throw new VmsteadError(
    'DiskUnusable',
    `${join(folder, LIST)} is not a list of layers that this launcher understands: ${parsed.error.issues[0]?.message}; restore it from a backup`,
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function layerFiles(folder: string): string[] {
  try {
    return readdirSync(folder).filter((entry) => NUMBERED.test(entry));
  } catch (error) {
    if (errno(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Publishes a list: whoever is killed meanwhile leaves the old one or the new one, and it is on the storage. */
export function writeTree(first: string, tree: LayerTree): void {
  const folder = dirname(first);
  const next = join(folder, `${LIST}.next`);
  failpoint('layers:write', 'before');
  writeFileSync(next, `${JSON.stringify(tree, null, 1)}\n`, { flush: true });
  renameSync(next, join(folder, LIST));
  syncFolder(folder);
  failpoint('layers:write', 'after');
}

function syncFolder(folder: string): void {
  const directory = openSync(folder, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** The list of a disk, made if there is none yet: before the first layer is, so that no layer is ever without one. */
export function ensureTree(first: string, format: Layer['format']): LayerTree {
  const known = readTree(first);
  if (known !== undefined) return known;
  const tree = firstTree(basename(first), format);
  writeTree(first, tree);
  return tree;
}

/** Makes the file of the active layer of a list that is not published yet: empty, as large as what it lies on. */
export function makeActive(first: string, tree: LayerTree): void {
  const folder = dirname(first);
  const active = tree.layers.find((each) => each.file === tree.active);
  const below = tree.layers.find((each) => each.file === active?.below);
  if (active === undefined || below === undefined) throw new Error(`${tree.active} is no new layer`);
  const path = join(folder, active.file);
  // What a launcher left that was killed before it published this layer.
  rmSync(path, { force: true });
  createLayer(path, virtualBytes(join(folder, below.file), below.format), below);
  syncFolder(folder);
  failpoint('layers:made', 'after');
}

/** Deletes the files that the list, as it is published, does not name. Returns their names. */
export function sweep(first: string, tree: LayerTree): string[] {
  const folder = dirname(first);
  const named = new Set(tree.layers.map((each) => each.file));
  const stray = layerFiles(folder).filter((entry) => !named.has(entry));
  for (const entry of stray) rmSync(join(folder, entry), { force: true });
  return stray;
}
