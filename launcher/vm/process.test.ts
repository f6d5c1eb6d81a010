import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { identify, isAlive } from './process.ts';

it('a process is known by its start too: a process id alone can be another one tomorrow', () => {
  const self = identify(process.pid);
  if (self === undefined) throw new Error('this process is not there');
  expect(isAlive(self)).toBe(true);
  expect(isAlive({ ...self, startTime: self.startTime - 1 })).toBe(false);
});

it('a process that has ended is not there, also while nobody has asked how it ended', async () => {
  const shell = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    // The child of a program that never asks stays a zombie.
    const [line] = (await once(shell.stdout, 'data')) as [Buffer];
    await expect.poll(() => identify(Number(String(line)))).toBeUndefined();
  } finally {
    shell.kill('SIGKILL');
  }
});
