/** How a run ended, told twice: in the termination message, and by the exit code. */
import { writeFileSync } from 'node:fs';
import { VmsteadError } from '../../crds/errors.ts';
import type { RunResult, TerminationMessage } from '../../crds/machine-description.ts';

/**
 * Exit codes of the launcher. `supervise` passes on 0 and 64 to 79 and takes every other code for a launcher
 * that crashed.
 */
export const EXIT_CODE: Readonly<Record<RunResult, number>> = {
  GuestPowerOff: 0,
  Stopped: 0,
  StoppedForced: 64,
  GuestPanic: 65,
  QemuKilled: 66,
  QemuFailed: 67,
  MachineRefused: 68,
  DiskBusy: 69,
  DiskUnusable: 70,
  Disowned: 71,
  SnapshotUnusable: 72,
};

export interface Ending {
  result: RunResult;
  message: string;
  code?: string;
}

/** The termination message's own bound; the kubelet cuts at 4096 bytes. */
const LONGEST_MESSAGE = 2048;

export function endingOf(error: unknown): Ending {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof VmsteadError && error.code in EXIT_CODE) {
    return { result: error.code as RunResult, code: error.code, message };
  }
  return { result: 'QemuFailed', code: 'QemuFailed', message: `the launcher failed: ${message}` };
}

/** Messages hold what QEMU or a path said: printable ASCII only, so that the bound in bytes is kept as well. */
function bounded(message: string): string {
  const printable = message.replaceAll(/[^\x20-\x7e\n]/g, '?');
  return printable.length <= LONGEST_MESSAGE ? printable : `${printable.slice(0, LONGEST_MESSAGE - 3)}...`;
}

export function terminationMessage({ result, message, code }: Ending, at: Date): TerminationMessage {
  return { result, ...(code === undefined ? {} : { code }), message: bounded(message), at: at.toISOString() };
}

/** Writes the message where the kubelet reads it. There is nobody to tell when that fails: the exit code is left. */
export function writeTerminationMessage(path: string, message: TerminationMessage): void {
  try {
    writeFileSync(path, JSON.stringify(message));
  } catch {}
}
