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

/** Milliseconds between two tries of what QEMU refuses while a migration is being finalized, and how many. */
const AGAIN = 5;
const TRIES = 2000;

/** QEMU says that a migration has ended a moment before it takes the next command of that kind. */
export async function whenFinalized(ask: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await ask();
      return;
    } catch (error) {
      if (!(error instanceof QmpCommandError) || tries === TRIES) throw error;
      await sleep(AGAIN);
    }
  }
}

/** Lets the guest go on. */
export async function resume(qmp: QmpClient): Promise<void> {
  await whenFinalized(() => qmp.execute('cont'));
}

/** Milliseconds of QEMU's own clock. */
export function timeOf({ timestamp }: QmpEvent): number {
  return timestamp.seconds * 1000 + timestamp.microseconds / 1000;
}
