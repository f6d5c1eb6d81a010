import { spawn } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';
import { kubectlPath } from './kubectl.ts';

const bin = join(import.meta.dirname, '../../cli/bin');

/** Environment in which `kubectl vm` works as it does for a person. */
export function kubectlVmEnvironment(kubeconfig: string): NodeJS.ProcessEnv {
  const path = [bin, dirname(kubectlPath()), process.env.PATH].join(delimiter);
  return { ...process.env, PATH: path, KUBECONFIG: kubeconfig };
}

export interface Outcome {
  /** Exit code; -1 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `kubectl-vm` as a process of its own. */
export async function kubectlVm(kubeconfig: string, ...args: string[]): Promise<Outcome> {
  const child = spawn(join(bin, 'kubectl-vm'), args, {
    env: kubectlVmEnvironment(kubeconfig),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exit) => resolve(exit ?? -1));
  });
  return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}
