/** The memory of a snapshot into a QEMU that waits for it; then the guest goes on where it was. */

import { withoutMemory } from '../disks/layers.ts';
import type { GuestAgent } from '../guest/freeze.ts';
import type { QmpClient } from '../qmp/client.ts';
import type { Vm } from '../vm/vm.ts';
import { memoryPath } from './memory.ts';
import { rollBack } from './restore-disks.ts';
import type { LayerStore } from './store.ts';
import { MIGRATION_CAPABILITIES } from './take.ts';
import { awaitEvent, resume } from './wait.ts';

/** Milliseconds for reading a memory: at 100 MiB a second, 360 GiB. */
const LONGEST_LOAD = 3_600_000;

/**
 * Loads what is to be loaded, or goes on with what a launcher before this one began. A memory that QEMU does not
 * take ends the run, with the disks back where they were.
 */
export async function finishIncoming(vm: Vm, qmp: QmpClient, store: LayerStore): Promise<void> {
  const { life, log } = vm.options;
  const { incoming } = life.record;
  if (incoming === undefined) return;
  const failure = await load(vm, qmp, incoming.snapshot);
  if (failure !== undefined) {
    log.error({ snapshot: incoming.snapshot, err: failure }, 'QEMU does not take the memory');
    rollBack(store, incoming.restore);
    const message = `QEMU does not take the memory of the snapshot: ${failure}; the disks are as they were before`;
    await vm.quit({ result: 'SnapshotUnusable', code: 'SnapshotUnusable', message });
    return;
  }
  // Before anything runs: what runs changes the disks, and the memory would not belong to them any more.
  store.publishAll((tree) => (tree.memory === undefined ? tree : withoutMemory(tree)));
  if (incoming.paused) life.change({ pausedByPerson: true });
  else await resume(qmp);
  const { restored } = life.record;
  if (restored !== undefined) life.change({ restored: { ...restored, memory: true } });
  life.forget('incoming');
  await vm.refresh();
  log.info({ snapshot: incoming.snapshot }, 'the guest goes on where it was');
}

/** Returns why not, where it did not. */
async function load(vm: Vm, qmp: QmpClient, snapshot: string): Promise<string | undefined> {
  using done = awaitEvent(vm, 'migrate-incoming', LONGEST_LOAD, (event) =>
    event.event === 'MIGRATION' && ['completed', 'failed'].includes(event.data.status) ? true : undefined,
  );
  const { status } = await qmp.execute('query-status');
  if (status === 'inmigrate') {
    const capabilities = MIGRATION_CAPABILITIES.map((capability) => ({ capability, state: true }));
    const before = await qmp.execute('query-migrate');
    if (before.status === undefined || before.status === 'none') {
      await qmp.execute('migrate-set-capabilities', { capabilities });
      await qmp.execute('migrate-incoming', { uri: `file:${memoryPath(snapshot)}`, 'exit-on-error': false });
    }
    if (before.status !== 'completed' && before.status !== 'failed') await done.value;
  }
  const { status: after, 'error-desc': why } = await qmp.execute('query-migrate');
  return after === 'failed' ? (why ?? 'it does not say why') : undefined;
}

/** Sets the guest's clock, which stood still from the snapshot on, as soon as its agent answers. */
export async function setClock(vm: Vm, agent: GuestAgent): Promise<void> {
  const { life, log } = vm.options;
  const { restored } = life.record;
  if (restored === undefined || !restored.memory || restored.clockSet !== undefined) return;
  if (!(await agent.setTime())) return;
  life.change({ restored: { ...restored, clockSet: true } });
  log.info({}, "the guest's clock was set");
  vm.options.onChange();
}
