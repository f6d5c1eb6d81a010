/** The connection to QEMU's monitor for as long as QEMU lives: made, and made again if it breaks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { QmpClient, type QmpOptions } from '../qmp/client.ts';
import { isAlive, type ProcessId } from './process.ts';

/** QEMU opens its monitor some 20 ms after it was started; so long between two tries. */
const RETRY_INTERVAL = 4;

/**
 * Connects to the monitor of a QEMU that may still be starting. Undefined when the process is gone: only then
 * is it sure that no connection will come.
 */
export async function connectMonitor(
  path: string,
  qemu: ProcessId,
  options: QmpOptions,
): Promise<QmpClient | undefined> {
  let interval = RETRY_INTERVAL;
  while (isAlive(qemu)) {
    try {
      return await QmpClient.connect(path, options);
    } catch {
      await sleep(interval);
      interval = Math.min(interval * 1.1, 1000);
    }
  }
  return undefined;
}
