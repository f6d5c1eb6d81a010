/** Types at a guest's serial console, as `kubectl vm console` does it. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { kubectlPath } from '../../cluster/kubectl.ts';

/** Milliseconds for a guest to echo a line; under emulation a busy one takes its characters one by one. */
const PATIENCE = 15_000;

/**
 * Stays connected until the guest has echoed the whole line, or could have: other words of the guest may stand in
 * the middle of the echo.
 */
export async function typeInto(
  kubeconfig: string,
  namespace: string,
  pod: string,
  line: string,
): Promise<void> {
  const child = spawn(
    kubectlPath(),
    ['--kubeconfig', kubeconfig, '-n', namespace, 'exec', '-i', pod, '--', '/usr/lib/vmstead/console'],
    { stdio: 'pipe' },
  );
  let screen = '';
  let errors = '';
  let code: number | undefined;
  child.stdout.on('data', (chunk: Buffer) => {
    screen += chunk.toString('latin1');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  child.stdin.on('error', () => {});
  const closed = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exit) => {
      code = exit ?? -1;
      resolve();
    });
  });
  child.stdin.write(`${line}\n`);
  const end = Date.now() + PATIENCE;
  while (code === undefined && !echoed(screen, line) && Date.now() < end) await sleep(50);
  child.stdin.end();
  await closed;
  // The line may have ended the machine, and the container with it.
  if (code !== 0 && !/exit code 137|container not found|NotFound/.test(errors)) {
    throw new Error(`typing ${JSON.stringify(line)} into ${pod}: ${errors.trim()}`);
  }
}

/** Whether a line and its end are on the screen, however the guest's shell has wrapped it. */
function echoed(screen: string, line: string): boolean {
  const shown = screen.replace(/[^\b][\b]/g, '');
  const letters = [...line.replace(/\s/g, '')].map((each) => each.replace(/[\\^$.*+?()[\]{}|]/, '\\$&'));
  return new RegExp(`${letters.join('\\s*')}\\s*\\n`).test(shown);
}
