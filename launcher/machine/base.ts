/** The switches that every machine has: one function a switch, by QEMU's own name. */
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { Host } from './host.ts';
import { json, keyval, plain } from './quoting.ts';

/** Seccomp: QEMU needs no obsolete calls, no new rights, no children and no say over its own scheduling. */
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

/**
 * The guest's end pauses QEMU instead of ending it: how it ended can then be asked, also by a launcher that
 * was not there at that moment.
 */
const ACTION = 'reboot=reset,shutdown=pause,panic=pause,watchdog=reset';

export function fixed(): string[] {
  return [
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-sandbox',
    SANDBOX,
    '-action',
    ACTION,
    '-msg',
    'timestamp=on',
    '-boot',
    'strict=on',
    '-rtc',
    'base=utc,driftfix=slew',
  ];
}

export function name({ vm }: MachineDescription): string[] {
  return ['-name', keyval('', { guest: `${vm.namespace}/${vm.name}`, 'debug-threads': true })];
}

export function uuid({ uuid }: MachineDescription): string[] {
  return ['-uuid', plain(uuid)];
}

export function smbios({ serial }: MachineDescription): string[] {
  return serial === undefined ? [] : ['-smbios', keyval('', { type: 1, serial })];
}

export function machine({ machineType, firmware, disks }: MachineDescription): string[] {
  const uefi = firmware.type === 'UEFI';
  return [
    '-machine',
    keyval(machineType, {
      'memory-backend': 'ram',
      // System management mode is for secure boot only, and slow where KVM is nested.
      smm: false,
      vmport: false,
      hpet: false,
      smbus: false,
      sata: disks.some(({ bus }) => bus === 'sata'),
      pflash0: uefi ? 'uefi-code' : undefined,
      pflash1: uefi ? 'uefi-variables' : undefined,
    }),
  ];
}

export function accel({ accelerator, translationBufferMiB, cpu }: MachineDescription): string[] {
  if (accelerator === 'kvm') return ['-accel', 'kvm'];
  const vcpus = cpu.sockets * cpu.cores * cpu.threads;
  return [
    '-accel',
    keyval('tcg', { 'tb-size': translationBufferMiB, thread: vcpus > 1 ? 'multi' : 'single' }),
  ];
}

export function cpu({ cpu }: MachineDescription): string[] {
  return ['-cpu', keyval(cpu.model, Object.fromEntries(cpu.without?.map((name) => [name, false]) ?? []))];
}

export function smp({ cpu: { sockets, cores, threads } }: MachineDescription): string[] {
  return ['-smp', keyval('', { cpus: sockets * cores * threads, sockets, cores, threads })];
}

/** Shared memory from the start: it cannot be had later, and migration to a new QEMU on the node needs it. */
export function memory({ memoryMiB }: MachineDescription): string[] {
  const size = memoryMiB * 1024 * 1024;
  return [
    '-m',
    keyval('', { size: `${memoryMiB}M` }),
    '-object',
    json({ 'qom-type': 'memory-backend-memfd', id: 'ram', size, share: true }),
  ];
}

export function kernel({ kernel }: MachineDescription): string[] {
  if (kernel === undefined) return [];
  const args = ['-kernel', plain(kernel.path)];
  if (kernel.initrd !== undefined) args.push('-initrd', plain(kernel.initrd));
  if (kernel.commandLine !== undefined) args.push('-append', plain(kernel.commandLine));
  return args;
}

export function pidfile({ run }: Host): string[] {
  return ['-pidfile', plain(run.pid)];
}

/** The launcher's monitor: a server, so that a launcher that was started again can come back to it. */
export function mon({ run }: Host): string[] {
  return [
    '-chardev',
    keyval('socket', { id: 'qmp', path: run.qmp, server: true, wait: false }),
    '-mon',
    keyval('', { chardev: 'qmp', mode: 'control' }),
  ];
}
