/** What this machine has: which QEMU, which machine types, whether KVM works. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { promisify } from 'node:util';
import { measure } from '../../agent/kvm/measure.ts';
import { VmsteadError } from '../../crds/errors.ts';

const run = promisify(execFile);

export const QEMU = 'qemu-system-x86_64';

/** As the chart has it: hundreds of millions of instructions a second, or KVM counts as absent. */
const MINIMUM_INSTRUCTIONS_PER_SECOND = 400_000_000;

/** The versioned q35 types of `-machine help`, newest first; the first one is what `q35` stands for. */
export function q35Types(help: string): string[] {
  const types = [...help.matchAll(/^(pc-q35-([0-9]+)\.([0-9]+)) /gm)];
  return types
    .sort((a, b) => Number(b[2]) - Number(a[2]) || Number(b[3]) - Number(a[3]))
    .map((match) => match[1]!);
}

/** Throws VmsteadError when there is no QEMU. */
export async function machineTypes(): Promise<string[]> {
  try {
    const { stdout } = await run(QEMU, ['-machine', 'help']);
    return q35Types(stdout);
  } catch (error) {
    throw new VmsteadError(
      'Usage',
      `${QEMU} cannot be run (${(error as Error).message.split('\n')[0]}); on Debian: apt-get install qemu-system-x86`,
      { cause: error },
    );
  }
}

/** The type asked for where this QEMU has it, else the newest that it has. */
export function chooseMachineType(asked: string | undefined, types: readonly string[]): string {
  if (asked !== undefined && types.includes(asked)) return asked;
  const [newest] = types;
  if (newest === undefined) throw new VmsteadError('Usage', `${QEMU} has no q35 machine`);
  return newest;
}

/**
 * CPU features that QEMU's emulation does wrongly, by its newest machine type. An emulated cmpxchg16b was seen to
 * leave garbage in the flags of the CPU with 7.2 (a part of an address in EFLAGS), and about every second boot of
 * Linux 6.12 to end in an Oops, a double fault or a debug exception in kmalloc. 10.0 does it right.
 */
export function brokenFeatures(types: readonly string[]): string[] {
  const version = Number(/^pc-q35-([0-9]+)/.exec(types[0] ?? '')?.[1]);
  return version < 8 ? ['cx16'] : [];
}

/** Whether /dev/kvm may be opened and runs guests at speed: some nested ones only interpret. */
export async function kvmWorks(): Promise<boolean> {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return false;
  }
  try {
    const { instructionsPerSecond } = await measure({ accelerator: 'kvm', qemu: QEMU });
    return instructionsPerSecond >= MINIMUM_INSTRUCTIONS_PER_SECOND;
  } catch {
    return false;
  }
}

/** The kernel sends SIGTERM when the process that started QEMU is gone; QEMU closes its disks upon it. */
const UNTIL_WE_END = ['setpriv', '--pdeathsig', 'TERM', '--'];

/**
 * What QEMU is started through so that it ends with this process, however that ends; undefined where there is
 * no util-linux.
 */
export async function untilWeEnd(): Promise<readonly string[] | undefined> {
  const [program = '', ...args] = UNTIL_WE_END;
  try {
    await run(program, [...args, 'true']);
    return UNTIL_WE_END;
  } catch {
    return undefined;
  }
}
