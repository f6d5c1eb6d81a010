/** Two layers become one while the guest runs: what the upper one holds goes into the lower one. */
import { failpoint } from '../../crds/failpoint.ts';
import { type Merge, merged, merging } from '../disks/layers.ts';
import { sweep } from '../disks/layers-file.ts';
import type { QmpClient } from '../qmp/client.ts';
import type { Vm } from '../vm/vm.ts';
import { activeNode, closeLayer, nodeOfFile } from './graph.ts';
import type { LayeredDisk, LayerStore } from './store.ts';
import { awaitEvent } from './wait.ts';

/** Milliseconds of silence of a merge that makes it be looked at again. */
const LOOK_AGAIN = 5000;

/** Jobs that were told to stop: one that ends with success all the same is looked at again at the next start. */
const cancelled = new Set<string>();

const jobOf = ({ index }: LayeredDisk): string => `merge-disk${index}`;

/**
 * Merges `merge` of a disk, or goes on with the merge that a launcher before this one began: the job is dismissed
 * only when its result is on the list. Returns whether it was done; false: cancelled, or QEMU refused.
 */
export async function mergeLayers(
  vm: Vm,
  qmp: QmpClient,
  store: LayerStore,
  disk: LayeredDisk,
  merge: Merge,
): Promise<boolean> {
  const id = jobOf(disk);
  const upper = await nodeOfFile(qmp, disk, merge.from);
  if ((await jobState(qmp, id)) === undefined) {
    const lower = await nodeOfFile(qmp, disk, merge.into);
    if (upper === undefined || lower === undefined) return false;
    store.publish(disk, merging(store.ensure(disk), merge));
    failpoint('merge', 'before');
    await qmp.execute('block-commit', {
      'job-id': id,
      device: await activeNode(qmp, disk),
      'top-node': upper,
      'base-node': lower,
      'backing-file': merge.into,
      'auto-dismiss': false,
    });
  }
  const error = await concluded(vm, qmp, id);
  if (error === undefined && !cancelled.delete(id)) {
    const after = merged(store.ensure(disk), merge);
    store.publish(disk, after);
    failpoint('merge', 'after');
    if (upper !== undefined) await closeLayer(qmp, upper);
    await qmp.execute('job-dismiss', { id });
    sweep(disk.first, after);
    return true;
  }
  cancelled.delete(id);
  vm.options.log.warn({ disk: disk.name, err: error }, 'layers were not merged');
  await qmp.execute('job-dismiss', { id });
  return false;
}

/** Stops a merge that runs; it is begun anew later. */
export async function stopMerges(vm: Vm, qmp: QmpClient, disks: readonly LayeredDisk[]): Promise<void> {
  for (const disk of disks) {
    const id = jobOf(disk);
    const state = await jobState(qmp, id);
    if (state === undefined || state === 'concluded') continue;
    cancelled.add(id);
    await qmp.execute('job-cancel', { id }).catch(() => {});
    await concluded(vm, qmp, id);
  }
}

async function jobState(qmp: QmpClient, id: string): Promise<string | undefined> {
  return (await qmp.execute('query-jobs')).find((each) => each.id === id)?.status;
}

/** Waits for the end of a job; its error, where it has one. */
async function concluded(vm: Vm, qmp: QmpClient, id: string): Promise<string | undefined> {
  for (;;) {
    using change = awaitEvent(vm, id, LOOK_AGAIN, (event) =>
      event.event === 'JOB_STATUS_CHANGE' && event.data.id === id && event.data.status === 'concluded'
        ? true
        : undefined,
    );
    const job = (await qmp.execute('query-jobs')).find((each) => each.id === id);
    if (job === undefined) return 'the job is gone';
    if (job.status === 'concluded') return job.error;
    await change.value.catch(() => {});
  }
}
