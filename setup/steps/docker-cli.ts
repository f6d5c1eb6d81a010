import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** What the engine says to a question; undefined when it says no (there is no such image, …). */
export async function askDocker(...args: string[]): Promise<string | undefined> {
  try {
    return (await promisify(execFile)('docker', args)).stdout.trim();
  } catch {
    return undefined;
  }
}

/** The classic builder, which every engine has (Debian's has no other). */
export const classicBuilder = { DOCKER_BUILDKIT: '0' };

/** How far a `docker build` is, by its "Step 2/7" lines. */
export function buildProgress(line: string): number | undefined {
  const match = /^Step (\d+)\/(\d+)/.exec(line);
  return match ? (Number(match[1]) - 1) / Number(match[2]) : undefined;
}
