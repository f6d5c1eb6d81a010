/** Where this launcher's files are: in a pod as in POD_PATH, elsewhere for `vmstead run` and tests. */
import { join } from 'node:path';
import { POD_PATH } from '../crds/machine-description.ts';
import type { RunPaths } from './machine/host.ts';

export interface LauncherPaths extends RunPaths {
  runDirectory: string;
  machine: string;
  token: string;
  terminationLog: string;
  /** What QEMU says on its standard error. */
  qemuLog: string;
  seed: string;
  /** Console for people: any number at once, by way of the launcher. */
  viewers: string;
  /** Bytes of the serial log that were passed on. */
  serialOffset: string;
  /** Where helpers ask for a disk to export, and where they read it. */
  exports: string;
  exportNbd: string;
  /** What the guest overwrites meanwhile. */
  exportAside: string;
}

export function launcherPaths(run: string, scratch: string): LauncherPaths {
  return {
    runDirectory: run,
    machine: POD_PATH.machine,
    token: POD_PATH.token,
    terminationLog: POD_PATH.terminationLog,
    qmp: join(run, 'qmp.sock'),
    pid: join(run, 'qemu.pid'),
    console: join(run, 'console.sock'),
    guestAgent: join(run, 'agent.sock'),
    guestPort: join(run, 'guest.sock'),
    viewers: join(run, 'viewers.sock'),
    qemuLog: join(run, 'qemu.log'),
    seed: join(run, 'seed.iso'),
    serialOffset: join(run, 'serial.offset'),
    serialLog: join(scratch, 'serial.log'),
    exports: join(run, 'exports.sock'),
    exportNbd: join(run, 'export-nbd.sock'),
    exportAside: join(scratch, 'export.qcow2'),
  };
}
