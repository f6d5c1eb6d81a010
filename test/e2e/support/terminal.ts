/** A person's terminal: what is interactive behaves otherwise without one. */
import { spawn } from 'node:child_process';
import { poll } from './poll.ts';

export const CTRL_RIGHT_BRACKET = '\u001d';

/** A shell line in a pseudo-terminal of its own (util-linux `script`). */
export function inTerminal(line: string, env: NodeJS.ProcessEnv, cwd?: string) {
  const child = spawn('script', ['--quiet', '--return', '--command', line, '/dev/null'], {
    env: { ...env, SHELL: '/bin/bash', TERM: 'xterm' },
    stdio: 'pipe',
    ...(cwd === undefined ? {} : { cwd }),
  });
  let screen = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      screen += chunk.toString();
    });
  }
  const closed = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)));
  return {
    type: (text: string) => child.stdin.write(text),
    until: (what: string) =>
      poll(`the terminal to show ${JSON.stringify(what)}`, () => screen.includes(what), {
        describe: async () => screen,
      }),
    screen: () => screen,
    /** All that was shown, and the exit code, once the line has ended. */
    ended: async () => ({ code: await closed, screen }),
  };
}
