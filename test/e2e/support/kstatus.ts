import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { binary } from '../../../setup/paths.ts';

/** What kstatus, the library that GitOps tools wait with, makes of objects: "Current", "InProgress", "Failed" … */
export async function kstatusOf(objects: readonly object[]): Promise<string[]> {
  const child = spawn(binary('kstatus', 'kstatus'), { stdio: 'pipe' });
  const closed = once(child, 'close');
  child.stdin.end(objects.map((object) => `${JSON.stringify(object)}\n`).join(''));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await closed;
  if (code !== 0) throw new Error(`kstatus: ${stderr}`);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '');
}
