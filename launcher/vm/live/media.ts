/** A CD-ROM's medium: in its drive or out of it. What the guest does with the tray is its own affair. */
import type { DiskReport } from '../../../crds/channel.ts';
import type { MachineDisk } from '../../../crds/machine-description.ts';
import type { QmpClient } from '../../qmp/client.ts';
import type { BlockInfo } from '../../qmp/commands.ts';
import { driveId } from './qdev.ts';

/** Milliseconds that a guest has to give a medium back that it has locked: it may still be using it. */
const PATIENCE = 30_000;

/**
 * Puts the medium in or takes it out, as the description says. A guest that has locked its tray is asked
 * first, again with each call, and not any more when its time is over.
 *
 * @param asked since when each guest has been asked, by the name of the drive
 * @throws Error that says what is being waited for
 */
export async function moveMedium(
  qmp: QmpClient,
  disk: MachineDisk,
  block: BlockInfo,
  node: string,
  asked: Map<string, number>,
): Promise<DiskReport['media']> {
  const id = driveId(disk);
  const wanted = disk.backend !== undefined && !disk.ejected;
  if (wanted) {
    asked.delete(disk.name);
    if (block.inserted !== undefined) return block.tray_open ? 'TrayOpen' : 'Inserted';
    await open(qmp, id, block, true);
    await qmp.execute('blockdev-insert-medium', { id, 'node-name': node });
    await qmp.execute('blockdev-close-tray', { id });
    return 'Inserted';
  }
  if (block.inserted === undefined) return 'Empty';
  const since = asked.get(disk.name) ?? Date.now();
  asked.set(disk.name, since);
  await open(qmp, id, block, Date.now() - since >= PATIENCE);
  await qmp.execute('blockdev-remove-medium', { id });
  // An empty drive with a closed tray, as one is that never had a medium.
  await qmp.execute('blockdev-close-tray', { id });
  asked.delete(disk.name);
  return 'Empty';
}

/** QEMU passes the wish on to a guest that has locked its tray, and says nothing of that. */
async function open(qmp: QmpClient, id: string, block: BlockInfo, force: boolean): Promise<void> {
  if (block.tray_open) return;
  await qmp.execute('blockdev-open-tray', { id, force });
  if (force || !block.locked) return;
  throw new Error(
    `the guest has locked the tray and was asked to open it; ${PATIENCE / 1000} s after it was first asked it is opened by force`,
  );
}
