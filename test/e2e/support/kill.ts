/** SIGKILL for the parts of one VM, from within its container: the same user, no help from outside. */
import type { Bed } from './bed.ts';

export async function killQemu(bed: Bed, vm: string): Promise<void> {
  await bed.inLauncher(vm, 'sh', '-c', 'kill -9 $(cat /run/vmstead/qemu.pid)');
}

/** QEMU goes on; `supervise` starts another launcher. */
export async function killLauncher(bed: Bed, vm: string): Promise<void> {
  const script =
    'for p in /proc/[0-9]*; do case $(readlink $p/exe) in */node) kill -9 $(basename $p);; esac; done';
  await bed.inLauncher(vm, 'sh', '-c', script);
}
