import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { RunOptions } from './step.ts';

/**
 * Runs a program, every line of its output to `log`.
 *
 * @param signal ends it
 * @throws Error when it cannot be started or ends with anything but 0
 */
export async function runLogged(
  log: (line: string) => void,
  command: string,
  args: readonly string[],
  options: RunOptions = {},
  signal?: AbortSignal,
): Promise<void> {
  log(`$ ${[command, ...args].join(' ')}`);
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      log(line);
      options.onLine?.(line);
    });
  }
  const code = await new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => resolve(exitCode ?? signal));
  });
  if (code !== 0) throw new Error(`${command} ${args[0] ?? ''} ended with ${code}`);
}
