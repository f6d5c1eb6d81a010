/**
 * The guest that proves KVM: firmware of 64 KiB that goes from reset to long mode, says so, and then works in
 * rounds that double, with a mark after each. It does no more than a kernel does at its start, which is what a KVM
 * that interprets kernel-mode code (some nested set-ups) is a thousand times too slow for.
 */

/** Port of QEMU's debug console: `-device isa-debugcon`. */
export const CONSOLE_PORT = 0xe9;
/** Written once in long mode, made by 64-bit arithmetic. */
export const STARTED = 'K';
/** Written after each round. */
export const ROUND = '.';

const SIZE = 0x10000;
/** Linear address of the firmware's first byte below 1 MiB. */
const BASE = 0xf0000;
const FIRST_ITERATIONS = 2 ** 14;
const LAST_ITERATIONS = 2 ** 24;
const INSTRUCTIONS_PER_ITERATION = 2;

/** Instructions that the guest has executed after so many rounds. */
export function instructionsAfter(rounds: number): number {
  let sum = 0;
  let iterations = FIRST_ITERATIONS;
  for (let round = 0; round < rounds; round++) {
    sum += iterations * INSTRUCTIONS_PER_ITERATION;
    if (iterations < LAST_ITERATIONS) iterations *= 2;
  }
  return sum;
}

const le16 = (value: number) => [value & 0xff, (value >> 8) & 0xff];
const le32 = (value: number) => [...le16(value & 0xffff), ...le16(value >>> 16)];

const LONG_MODE_AT = 0x80;
const GDT_AT = 0x100;
const GDTR_AT = 0x110;

/** Real mode, at F000:0000. The page tables at 0x1000 map the first 2 MiB to themselves; RAM starts as zeroes. */
const REAL_MODE = [
  [0xfa], // cli
  [0x31, 0xc0], // xor ax, ax
  [0x8e, 0xd8], // mov ds, ax
  [0x66, 0xc7, 0x06, ...le16(0x1000), ...le32(0x2003)], // mov dword [0x1000], 0x2003: PML4
  [0x66, 0xc7, 0x06, ...le16(0x2000), ...le32(0x3003)], // mov dword [0x2000], 0x3003: directory pointers
  [0x66, 0xc7, 0x06, ...le16(0x3000), ...le32(0x0083)], // mov dword [0x3000], 0x83: one page of 2 MiB
  [0x66, 0x2e, 0x0f, 0x01, 0x16, ...le16(GDTR_AT)], // lgdt [cs:GDTR]
  [0x66, 0xb8, ...le32(0x20), 0x0f, 0x22, 0xe0], // mov eax, PAE; mov cr4, eax
  [0x66, 0xb8, ...le32(0x1000), 0x0f, 0x22, 0xd8], // mov eax, 0x1000; mov cr3, eax
  [0x66, 0xb9, ...le32(0xc0000080), 0x0f, 0x32], // mov ecx, EFER; rdmsr
  [0x66, 0x0d, ...le32(0x100), 0x0f, 0x30], // or eax, LME; wrmsr
  [0x66, 0xb8, ...le32(0x80000001), 0x0f, 0x22, 0xc0], // mov eax, PG | PE; mov cr0, eax
  [0x66, 0xea, ...le32(BASE + LONG_MODE_AT), ...le16(0x08)], // jmp 08:LONG_MODE
].flat();

const LONG_MODE = [
  [0x48, 0xb8, ...le32(0), ...le32(STARTED.charCodeAt(0))], // mov rax, 'K' << 32
  [0x48, 0xc1, 0xe8, 32], // shr rax, 32
  [0xe6, CONSOLE_PORT], // out CONSOLE_PORT, al
  [0xbb, ...le32(FIRST_ITERATIONS)], // mov ebx, FIRST_ITERATIONS
  [0x89, 0xd9], // round: mov ecx, ebx
  [0x48, 0xff, 0xc9], // iteration: dec rcx
  [0x75, 0xfb], // jnz iteration
  [0xb0, ROUND.charCodeAt(0)], // mov al, '.'
  [0xe6, CONSOLE_PORT], // out CONSOLE_PORT, al
  [0x81, 0xfb, ...le32(LAST_ITERATIONS)], // cmp ebx, LAST_ITERATIONS
  [0x73, 0x02], // jae same
  [0x01, 0xdb], // add ebx, ebx
  [0xeb, 0xe9], // same: jmp round
].flat();

/** A null descriptor, and one for 64-bit code with its accessed bit set: the processor cannot set it in ROM. */
const GDT = [...le32(0), ...le32(0), ...le32(0), ...le32(0x00209b00)];
const GDTR = [...le16(GDT.length - 1), ...le32(BASE + GDT_AT)];
/** jmp F000:0000, where the processor starts. */
const RESET = [0xea, ...le16(0), ...le16(0xf000)];

/** The firmware image for QEMU's `-bios`. */
export function provingFirmware(): Uint8Array {
  const image = new Uint8Array(SIZE);
  image.set(REAL_MODE, 0);
  image.set(LONG_MODE, LONG_MODE_AT);
  image.set(GDT, GDT_AT);
  image.set(GDTR, GDTR_AT);
  image.set(RESET, SIZE - 16);
  return image;
}
