/** From a description to a running QEMU: what the host has is found out, the rest is pure. */
import { readFileSync, rmSync } from 'node:fs';
import { failpoint } from '../../crds/failpoint.ts';
import { type MachineDescription, POD_PATH } from '../../crds/machine-description.ts';
import { resolveInside } from '../disks/inside.ts';
import { prepareDisks } from '../disks/prepare.ts';
import { prepareUefi } from '../disks/uefi.ts';
import { commandLine } from '../machine/command-line.ts';
import type { Host } from '../machine/host.ts';
import type { LauncherPaths } from '../paths.ts';
import { writeSeed } from '../seed/nocloud.ts';
import { prepareLayers } from '../snapshot/at-start.ts';
import type { Life } from './life.ts';
import { type SpawnedQemu, spawnQemu } from './qemu.ts';

export interface StartOptions {
  description: MachineDescription;
  paths: LauncherPaths;
  life: Life;
  /** QEMU's program. */
  program: string;
  /** A program with its arguments that becomes QEMU. In a pod there is none. */
  through?: readonly string[];
  /** Without a cluster: where the guest's ports are on this machine. */
  forwardFrom?: NonNullable<Host['forwardFrom']>;
}

/** Throws VmsteadError for what cannot be started. Called once in a pod's life. */
export function startQemu(options: StartOptions): SpawnedQemu {
  const { description, paths, life, program, through = [], forwardFrom } = options;
  const machine = withKernelInside(description);
  const { disks: plain, claims } = prepareDisks(machine, asyncIo());
  const { disks, incoming } = prepareLayers(machine, plain);
  const host: Host = { run: paths, disks, incoming: incoming !== undefined };
  if (forwardFrom !== undefined) host.forwardFrom = forwardFrom;
  if (machine.cloudInit !== undefined) {
    writeSeed(paths.seed, machine.cloudInit);
    host.seed = paths.seed;
  }
  if (machine.firmware.type === 'UEFI') host.uefiCode = prepareUefi(machine.firmware.variables);
  life.change({ disks, ...(incoming === undefined ? {} : { incoming }) });
  rmSync(paths.qmp, { force: true });
  const command = [...through, program, ...commandLine(machine, host)];
  failpoint('qemu:spawn', 'before');
  const qemu = spawnQemu(command, claims, paths.qemuLog);
  failpoint('qemu:spawn', 'after');
  life.change({ qemu: qemu.id });
  return qemu;
}

/** A kernel comes from an image: its symbolic links are read there and nowhere else. */
function withKernelInside(description: MachineDescription): MachineDescription {
  const { kernel } = description;
  if (kernel === undefined) return description;
  const inside = (path: string) =>
    path.startsWith(`${POD_PATH.kernel}/`)
      ? resolveInside(POD_PATH.kernel, path.slice(POD_PATH.kernel.length))
      : path;
  const initrd = kernel.initrd === undefined ? {} : { initrd: inside(kernel.initrd) };
  return { ...description, kernel: { ...kernel, path: inside(kernel.path), ...initrd } };
}

/**
 * io_uring where it may be used: container runtimes' default seccomp profiles refuse it, and kernels can have
 * it switched off. QEMU 10 would then fall back to threads, an older one would not start; Linux AIO is better.
 */
export function asyncIo(): 'io_uring' | 'native' {
  try {
    const filtered = !/^Seccomp:\s*0$/m.test(readFileSync('/proc/self/status', 'utf8'));
    const disabled = readFileSync('/proc/sys/kernel/io_uring_disabled', 'utf8').trim() !== '0';
    return filtered || disabled ? 'native' : 'io_uring';
  } catch {
    // The switch came with Linux 6.6; what an older kernel allows is not to be seen.
    return 'native';
  }
}
