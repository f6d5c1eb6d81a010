/** Runs the proving guest and measures how fast it works. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CONSOLE_PORT, instructionsAfter, provingFirmware, ROUND, STARTED } from './payload.ts';

/** Instructions that a usable KVM finishes within WINDOW; enough for a steady figure. */
export const WORK = 400_000_000;
/** Milliseconds of work at most, however little was done. */
const WINDOW = 1_000;
/** Milliseconds that QEMU and the way to long mode may take; an interpreting KVM needs two seconds. */
const START_TIMEOUT = 15_000;

export interface Measurement {
  /** Instructions that the guest executed, and the time that they took. */
  instructions: number;
  milliseconds: number;
  instructionsPerSecond: number;
}

export interface MeasureOptions {
  accelerator: 'kvm' | 'tcg';
  /** Path or name of QEMU. */
  qemu?: string;
}

function commandLine(accelerator: string, firmware: string): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-machine', 'q35', '-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max'],
    ...['-m', '16', '-bios', firmware],
    ...['-chardev', 'stdio,id=marks,signal=off'],
    ...['-device', `isa-debugcon,iobase=${CONSOLE_PORT},chardev=marks`],
  ];
}

/**
 * Measures one accelerator within WINDOW and START_TIMEOUT at most.
 *
 * @throws Error in QEMU's words when there is no such accelerator or the guest does not reach long mode
 */
export async function measure(options: MeasureOptions): Promise<Measurement> {
  const directory = await mkdtemp(join(tmpdir(), 'vmstead-proof-'));
  try {
    const firmware = join(directory, 'firmware');
    await writeFile(firmware, provingFirmware());
    return await run(options.qemu ?? 'qemu-system-x86_64', commandLine(options.accelerator, firmware));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function run(qemu: string, args: string[]): Promise<Measurement> {
  const child = spawn(qemu, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = new Promise((resolve) => child.once('close', resolve));
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-500);
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Measurement>((resolve, reject) => {
      let startedAt = 0;
      let rounds = 0;
      let lastRound = 0;
      const finish = () => {
        const instructions = instructionsAfter(rounds);
        // Several marks may arrive at once: never a division by nothing.
        const milliseconds = Math.max(1, lastRound - startedAt);
        const instructionsPerSecond = Math.round((instructions / milliseconds) * 1000);
        resolve({ instructions, milliseconds: Math.round(milliseconds), instructionsPerSecond });
      };
      timer = setTimeout(
        () => reject(new Error(`the proving guest did not reach long mode in ${START_TIMEOUT / 1000} s`)),
        START_TIMEOUT,
      );
      child.stdout.setEncoding('latin1').on('data', (text: string) => {
        const now = performance.now();
        for (const mark of text) {
          if (mark === STARTED && startedAt === 0) {
            startedAt = now;
            clearTimeout(timer);
            timer = setTimeout(finish, WINDOW);
          } else if (mark === ROUND) {
            rounds++;
            lastRound = now;
          }
        }
        if (instructionsAfter(rounds) >= WORK) finish();
      });
      child.once('error', (error) => reject(new Error(`${qemu} cannot be started: ${error.message}`)));
      child.once('close', (code, signal) =>
        reject(
          new Error(
            words.trim() || `${qemu} ended (${signal ?? `exit code ${code}`}) before its guest worked`,
          ),
        ),
      );
    });
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
    await closed;
  }
}
