/** What the end of a QEMU process means, when the guest's own end had not been read before. */
import type { Ending } from './ending.ts';
import type { QemuExit } from './qemu.ts';

export interface Remains {
  /** Undefined where the launcher did not start this QEMU itself, or was not there. */
  exit: QemuExit | undefined;
  /** The machine was up: its monitor had answered. */
  wasUp: boolean;
  lastWords: string;
}

function withWords(text: string, words: string): string {
  return words === '' ? text : `${text}: ${words}`;
}

export function autopsy({ exit, wasUp, lastWords }: Remains): Ending {
  if (/Failed to get (shared )?"?\w*"? ?lock|Is another process using the image/.test(lastWords)) {
    const message = withWords('a disk is in use by another QEMU', lastWords);
    return { result: 'DiskBusy', code: 'DiskBusy', message };
  }
  if (exit === undefined) {
    const message = withWords('QEMU ended; with which exit code is not known', lastWords);
    return { result: 'QemuKilled', code: 'QemuKilled', message };
  }
  if (exit.signal !== null) {
    const message = withWords(`QEMU was killed by ${exit.signal}`, lastWords);
    return { result: 'QemuKilled', code: 'QemuKilled', message };
  }
  if (exit.code === 0) {
    const message = withWords('QEMU was asked by a signal to end', lastWords);
    return { result: 'QemuKilled', code: 'QemuKilled', message };
  }
  if (!wasUp) {
    const message = withWords('QEMU refused to start', lastWords);
    return { result: 'MachineRefused', code: 'MachineRefused', message };
  }
  const message = withWords(`QEMU ended with exit code ${exit.code}`, lastWords);
  return { result: 'QemuFailed', code: 'QemuFailed', message };
}
