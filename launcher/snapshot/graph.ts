/** Layers in QEMU's block graph: which node a file is, and which one the guest writes to. */
import { VmsteadError } from '../../crds/errors.ts';
import { layerNodes } from '../machine/layers.ts';
import type { QmpClient } from '../qmp/client.ts';
import type { Vm } from '../vm/vm.ts';
import { type LayeredDisk, layerPath } from './store.ts';

/** The node that the disk's device hangs on now. Throws SnapshotUnusable where it has none. */
export async function activeNode(qmp: QmpClient, { name }: Pick<LayeredDisk, 'name'>): Promise<string> {
  const device = new RegExp(`(^|/)disk-${name}(/|$)`);
  const block = (await qmp.execute('query-block')).find(({ qdev }) => device.test(qdev ?? ''));
  const node = block?.inserted?.['node-name'];
  if (node !== undefined) return node;
  throw new VmsteadError('SnapshotUnusable', `QEMU has no disk ${name} any more`);
}

/** The node of a layer by the file that it lies in; undefined where QEMU does not have it. */
export async function nodeOfFile(
  qmp: QmpClient,
  disk: LayeredDisk,
  file: string,
): Promise<string | undefined> {
  const path = layerPath(disk, file);
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  // An export has the files open once more, for itself.
  const node = nodes.find(
    (each) => each.file === path && each.drv === 'file' && !each['node-name']?.startsWith('export-'),
  )?.['node-name'];
  return node?.replace(/-file$/, '');
}

/** Name of the node of a layer that is made while QEMU runs. */
const liveNode = ({ index }: LayeredDisk, generation: number): string => `disk${index}-g${generation}`;

/** Opens an empty layer that nothing stands on yet. Returns its node. */
export async function openLayer(vm: Vm, qmp: QmpClient, disk: LayeredDisk, file: string, generation: number) {
  const node = liveNode(disk, generation);
  const prepared = vm.disks[disk.index];
  if (!prepared) throw new VmsteadError('SnapshotUnusable', `disk ${disk.name} is not in its drive`);
  const { direct, aio } = prepared;
  const nodes = layerNodes(node, { filename: layerPath(disk, file), format: 'qcow2', direct }, aio, null);
  for (const each of nodes) await qmp.execute('blockdev-add', each as never);
  return node;
}

/** Closes a layer that nothing uses any more; nodes that are not there are no error. */
export async function closeLayer(qmp: QmpClient, node: string): Promise<void> {
  for (const each of [node, `${node}-file`]) {
    await qmp.execute('blockdev-del', { 'node-name': each }).catch(() => {});
  }
}
