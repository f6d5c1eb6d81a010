import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { binaries } from '../../setup/paths.ts';

/** The set-up's kubectl, or a person's own where the set-up did not have to build one. */
export function kubectlPath(): string {
  const built = join(binaries.kubernetes, 'kubectl');
  return existsSync(built) ? built : 'kubectl';
}

/**
 * Runs kubectl and returns what it printed.
 *
 * @param input what it reads from its standard input
 * @throws Error with what kubectl said when it fails
 */
export async function kubectl(kubeconfig: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(kubectlPath(), ['--kubeconfig', kubeconfig, ...args], { stdio: 'pipe' });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk) => output.push(chunk));
  child.stderr.on('data', (chunk) => errors.push(chunk));
  // kubectl may end without reading all of it.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${Buffer.concat(errors).toString().trim()}`);
  return Buffer.concat(output).toString();
}
