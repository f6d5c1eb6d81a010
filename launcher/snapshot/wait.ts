/** Waiting for one of QEMU's events, for so long and no longer. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { QmpClient } from '../qmp/client.ts';
import type { QmpEvent } from '../qmp/commands.ts';
import { QmpCommandError, QmpTimeoutError } from '../qmp/errors.ts';
import type { Vm } from '../vm/vm.ts';

export interface Awaited<T> extends Disposable {
  readonly value: Promise<T>;
}

/**
 * Listens from now on for the first event of which `read` makes something. `what` is for people.
 * Rejects with QmpTimeoutError after `milliseconds`, also where QEMU is gone.
 */
export function awaitEvent<T>(
  vm: Vm,
  what: string,
  milliseconds: number,
  read: (event: QmpEvent) => T | undefined,
): Awaited<T> {
  let end = () => {};
  const value = new Promise<T>((resolve, reject) => {
    const listener = (event: QmpEvent) => {
      const result = read(event);
      if (result === undefined) return;
      end();
      resolve(result);
    };
    const timer = setTimeout(() => {
      end();
      reject(new QmpTimeoutError(what, milliseconds));
    }, milliseconds);
    end = () => {
      clearTimeout(timer);
      const at = vm.onEvent.indexOf(listener);
      if (at !== -1) vm.onEvent.splice(at, 1);
    };
    vm.onEvent.push(listener);
  });
  // Whoever failed before it got to wait is not told of this one as well.
  value.catch(() => {});
  return { value, [Symbol.dispose]: end };
}

/** Milliseconds between two tries of letting the guest go on, and how many there are. */
const RESUME_AGAIN = 5;
const RESUME_TRIES = 2000;

/** Lets the guest go on. QEMU says that a migration is complete a moment before it allows that. */
export async function resume(qmp: QmpClient): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await qmp.execute('cont');
      return;
    } catch (error) {
      if (!(error instanceof QmpCommandError) || tries === RESUME_TRIES) throw error;
      await sleep(RESUME_AGAIN);
    }
  }
}

/** Milliseconds of QEMU's own clock. */
export function timeOf({ timestamp }: QmpEvent): number {
  return timestamp.seconds * 1000 + timestamp.microseconds / 1000;
}
