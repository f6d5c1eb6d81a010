/** What ends a run before or beside the guest's own will: an error with a code and the result that it leads to. */
import type { RunResult } from '../crds/machine-description.ts';

/** Each code is described in docs/errors.md; the result is what the termination message says. */
export const LAUNCHER_ERRORS = {
  MACHINE_INVALID: 'MachineRefused',
  MACHINE_REFUSED_BY_QEMU: 'MachineRefused',
  FIRMWARE_MISSING: 'MachineRefused',
  SEED_FAILED: 'MachineRefused',
  DISK_BUSY: 'DiskBusy',
  DISK_MISSING: 'DiskUnusable',
  DISK_NOT_EMPTY: 'DiskUnusable',
  DISK_NO_PERMISSION: 'DiskUnusable',
  DISK_NOT_A_DISK: 'DiskUnusable',
  DISK_UNREADABLE: 'DiskUnusable',
  IMAGE_REFUSED: 'DiskUnusable',
  QEMU_FAILED: 'QemuFailed',
  QEMU_KILLED: 'QemuKilled',
  LAUNCHER_FAILED: 'QemuFailed',
} as const satisfies Record<string, RunResult>;

export type LauncherErrorCode = keyof typeof LAUNCHER_ERRORS;

export class LauncherError extends Error {
  readonly code: LauncherErrorCode;

  constructor(code: LauncherErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LauncherError';
    this.code = code;
  }

  get result(): RunResult {
    return LAUNCHER_ERRORS[this.code];
  }
}

/** `code` of a system call's error (ENOENT, EBUSY, …), if it is one. */
export function errno(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}
