/** The QEMU process: started so that it outlives its launcher. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { VmsteadError } from '../../crds/errors.ts';
import { identify, type ProcessId } from './process.ts';

export interface QemuExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface SpawnedQemu {
  id: ProcessId;
  exited: Promise<QemuExit>;
}

/** How the launcher's own memory is kept small (`supervise`) would slow QEMU's requests down. */
const LAUNCHERS_OWN = ['MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_'];

/**
 * Starts QEMU in a session of its own with its words in a file, so that it needs nothing of the launcher's.
 * It inherits `claims`, the descriptors that hold block devices.
 */
export function spawnQemu(command: readonly string[], claims: number[], logPath: string): SpawnedQemu {
  const [program = '', ...args] = command;
  const log = openSync(logPath, 'a', 0o600);
  try {
    const env = { ...process.env };
    for (const name of LAUNCHERS_OWN) delete env[name];
    const child = spawn(program, args, { detached: true, env, stdio: ['ignore', log, log, ...claims] });
    const exited = new Promise<QemuExit>((resolve, reject) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', (error) =>
        reject(new VmsteadError('QemuFailed', `cannot start ${program}: ${error.message}`, { cause: error })),
      );
    });
    // Whoever waits for the end is told; until then a failure to start is no unhandled rejection.
    exited.catch(() => {});
    const id = child.pid === undefined ? undefined : identify(child.pid);
    return { id: id ?? { pid: child.pid ?? -1, startTime: -1 }, exited };
  } finally {
    closeSync(log);
    // QEMU holds them from here on, and alone: they are let go of when it ends.
    for (const claim of claims) closeSync(claim);
  }
}

/** The last of what QEMU said, without the times in front. */
export function lastWords(logPath: string): string {
  let text: string;
  try {
    text = readFileSync(logPath, 'utf8');
  } catch {
    return '';
  }
  return text
    .slice(-1500)
    .split('\n')
    .map((line) => line.replace(/^\S+Z (qemu-system-\S+: )?/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('terminating on signal'))
    .slice(-5)
    .join('; ');
}
