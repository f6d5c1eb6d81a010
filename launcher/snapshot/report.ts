/** The snapshots that a VM's disks have, as the operator is told of them. */
import { statSync } from 'node:fs';
import type { SnapshotReport } from '../../crds/snapshot-order.ts';
import { readPage } from './memory.ts';
import { type LayerStore, layerPath } from './store.ts';

export function reportOf(store: LayerStore): SnapshotReport[] {
  return store.snapshots().map((mark) => {
    const page = mark.memory ? readPage(mark.uid) : undefined;
    return {
      uid: mark.uid,
      name: mark.name,
      at: mark.at,
      frozen: mark.frozen === true,
      ...(mark.pause === undefined ? {} : { pause: mark.pause }),
      ...(page === undefined
        ? {}
        : { memory: { bytes: page.bytes, ...(page.sha256 === undefined ? {} : { sha256: page.sha256 }) } }),
      disks: store.disks.flatMap((disk) => {
        const tree = store.get(disk);
        const own = tree?.snapshots.find((each) => each.uid === mark.uid);
        const layer = tree?.layers.find((each) => each.file === own?.layer);
        if (layer === undefined) return [];
        const bytes = layer.bytes ?? sizeOf(layerPath(disk, layer.file));
        return [{ name: disk.name, bytes, ...(layer.sha256 === undefined ? {} : { sha256: layer.sha256 }) }];
      }),
    };
  });
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
