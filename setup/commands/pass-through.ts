import { spawn } from 'node:child_process';
import { root } from '../paths.ts';

/** Runs a program with its output where ours goes; returns its exit code. */
export async function passThrough(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, args, { cwd: root, stdio: ['inherit', 'inherit', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
