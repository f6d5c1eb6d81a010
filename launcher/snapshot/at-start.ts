/** The layers before QEMU is started: what was begun is finished, and QEMU is told which files make each disk. */
import type { MachineDescription } from '../../crds/machine-description.ts';
import { chainOf, withoutMemory } from '../disks/layers.ts';
import { regularFile, takesDirect } from '../disks/storage.ts';
import type { PreparedDisk } from '../machine/host.ts';
import { readPage } from './memory.ts';
import { finish, finishSnapshots } from './restore-disks.ts';
import { LayerStore, layerPath } from './store.ts';

/** What is to be loaded into QEMU before it runs. */
export interface Incoming {
  snapshot: string;
  restore: string;
  paused: boolean;
}

/** Sets the layers into the prepared disks. Throws DiskUnusable. */
export function prepareLayers(
  description: Pick<MachineDescription, 'disks' | 'restore'>,
  disks: readonly (PreparedDisk | null)[],
): { disks: (PreparedDisk | null)[]; incoming: Incoming | undefined } {
  const store = new LayerStore(description);
  finish(store);
  finishSnapshots(store);
  store.collect();
  const memory = store.disks.map((disk) => store.get(disk)).find((tree) => tree?.memory !== undefined);
  const incoming =
    memory?.memory !== undefined && memory.restored?.uid === description.restore?.uid
      ? {
          snapshot: memory.memory,
          restore: memory.restored?.uid ?? '',
          paused: readPage(memory.memory)?.paused ?? false,
        }
      : undefined;
  if (incoming === undefined && memory !== undefined) store.publishAll(withoutMemory);
  const layered = [...disks];
  for (const disk of store.disks) {
    const [prepared, tree] = [layered[disk.index], store.get(disk)];
    if (!prepared || tree === undefined || tree.layers.length === 1) continue;
    const [active, ...frozen] = chainOf(tree, tree.active).map(({ file, format }) => {
      const filename = layerPath(disk, file);
      regularFile(disk.name, filename);
      return {
        filename,
        format,
        direct: prepared.direct && takesDirect(disk.name, filename, file !== tree.active),
      };
    });
    if (active === undefined) continue;
    // The image is copied into a disk of one layer only: the others would keep a part of it each.
    const { flatten: _, ...rest } = prepared;
    layered[disk.index] = { ...rest, ...active, layers: frozen };
  }
  return { disks: layered, incoming };
}
