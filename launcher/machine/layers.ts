/** Block nodes of a disk's layers. Each is named to QEMU with what lies below it; headers are not believed. */
import type { AsyncIo, LayerStorage } from './host.ts';
import type { JsonOptions } from './quoting.ts';

/**
 * The nodes of one layer, `node` the upper one. `backing`: the node below; null: nothing.
 * A layer that is below another one is opened for reading and can be opened anew for writing, which a merge needs.
 */
export function layerNodes(
  node: string,
  { filename, format, direct }: LayerStorage,
  aio: AsyncIo,
  backing: string | null,
  frozen = false,
): JsonOptions[] {
  const file = {
    driver: 'file',
    filename,
    'read-only': false,
    'auto-read-only': true,
    locking: 'on',
    cache: { direct },
    aio: aio === 'native' && !direct ? 'threads' : aio,
    discard: 'unmap',
  };
  const manner = frozen
    ? { 'read-only': true, discard: 'unmap' }
    : { 'read-only': false, discard: 'unmap', 'detect-zeroes': 'unmap' };
  if (format === 'raw') return [{ ...file, 'node-name': node, ...(frozen ? { 'read-only': true } : {}) }];
  return [
    { ...file, 'node-name': `${node}-file` },
    { driver: 'qcow2', 'node-name': node, file: `${node}-file`, backing, ...manner },
  ];
}

/** Nodes of frozen layers, the lowest first, and the name of the uppermost. */
export function frozenNodes(
  disk: string,
  layers: readonly LayerStorage[],
  aio: AsyncIo,
  base: string | null,
): { nodes: JsonOptions[]; top: string | null } {
  const nodes: JsonOptions[] = [];
  let top = base;
  for (const [index, layer] of [...layers].reverse().entries()) {
    const node = `${disk}-l${index}`;
    nodes.push(...layerNodes(node, layer, aio, top, true));
    top = node;
  }
  return { nodes, top };
}
