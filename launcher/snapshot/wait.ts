/** Waiting for one of QEMU's events, for so long and no longer. */
import type { QmpEvent } from '../qmp/commands.ts';
import { QmpTimeoutError } from '../qmp/errors.ts';
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

/** Milliseconds of QEMU's own clock. */
export function timeOf({ timestamp }: QmpEvent): number {
  return timestamp.seconds * 1000 + timestamp.microseconds / 1000;
}
