/**
 * A restore's changes of the disks, which survive a kill anywhere: the wish is written down on one disk before the
 * first of them is changed and taken off with its own change, the last. The next start finishes what it finds.
 */
import { failpoint } from '../../crds/failpoint.ts';
import { completed, type LayerTree, restored, rolledBack, withoutSnapshot } from '../disks/layers.ts';
import { makeActive } from '../disks/layers-file.ts';
import type { LayeredDisk, LayerStore } from './store.ts';

/** Writes the wish down. */
export function begin(store: LayerStore, uid: string, snapshot: string, memory: boolean): void {
  const [first] = store.marksOf(snapshot);
  if (first === undefined) return;
  const intent = { restore: uid, snapshot, ...(memory ? { memory: true as const } : {}) };
  store.publish(first.disk, { ...first.tree, intent });
  failpoint('restore:begun', 'after');
}

/** Carries out what was written down, if anything was: also by a launcher before this one. */
export function finish(store: LayerStore): void {
  const holder = store.disks.find((disk) => store.get(disk)?.intent !== undefined);
  const intent = holder && store.get(holder)?.intent;
  if (holder === undefined || intent === undefined) return;
  const change = (disk: LayeredDisk, tree: LayerTree): LayerTree => {
    if (intent.snapshot === undefined) return rolledBack(tree, intent.restore);
    if (!tree.snapshots.some((each) => each.uid === intent.snapshot)) return tree;
    const after = restored(tree, intent.restore, intent.snapshot);
    if (after.active !== tree.active) makeActive(disk.first, after);
    return after;
  };
  for (const disk of store.disks) {
    const tree = store.get(disk);
    if (disk === holder || tree === undefined) continue;
    store.publish(disk, change(disk, tree));
    failpoint('restore:disk', 'after');
  }
  const after = change(holder, store.ensure(holder));
  const memory = intent.memory && intent.snapshot !== undefined ? { memory: intent.snapshot } : {};
  store.publish(holder, { ...after, ...memory });
  failpoint('restore:done', 'after');
}

/** Back to what was before a restore. */
export function rollBack(store: LayerStore, uid: string): void {
  const holder = store.disks.find((disk) => store.get(disk)?.restored?.uid === uid);
  if (holder === undefined) return;
  store.publish(holder, { ...store.ensure(holder), intent: { restore: uid } });
  finish(store);
}

/** Snapshots that were under way when everything ended: complete on one disk is complete, the others never were. */
export function finishSnapshots(store: LayerStore): void {
  const whole = new Set(store.snapshots().map(({ uid }) => uid));
  store.publishAll((tree) => {
    let after = tree;
    for (const { uid, complete } of tree.snapshots) {
      if (!complete) after = whole.has(uid) ? completed(after, uid) : withoutSnapshot(after, uid);
    }
    return after;
  });
}
