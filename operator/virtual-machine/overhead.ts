/**
 * What a launcher pod books over the memory of its guest: what was seen (docs/benchmarks.md, "What a launcher
 * pod books"), rounded up. `npm run bench -- memory` tells what is left of it; a pod that takes more is a bug.
 */

/** MiB for QEMU's own heap, firmware and device state. */
const QEMU = 48;
/** MiB for the launcher process and its supervisor. */
const LAUNCHER = 30;
/** MiB for each vCPU: its thread, stack and translated state. */
const VCPU = 2;
/** The kernel's page tables: 8 bytes for each 4 KiB page of the guest. */
const PAGE_TABLE_SHARE = 512;

/** MiB of translated code that QEMU keeps under emulation; its own default is 1 GiB. */
export const TRANSLATION_BUFFER_MIB = 64;

/** MiB that the pod needs over `memoryMiB` of guest memory. */
export function memoryOverheadMiB(memoryMiB: number, vcpus: number, accelerator: 'kvm' | 'tcg'): number {
  const buffer = accelerator === 'tcg' ? TRANSLATION_BUFFER_MIB : 0;
  return QEMU + LAUNCHER + VCPU * vcpus + Math.ceil(memoryMiB / PAGE_TABLE_SHARE) + buffer;
}
