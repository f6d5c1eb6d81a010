import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseArguments } from './arguments.ts';
import { COMMANDS } from './commands.ts';
import { EXIT_CODES } from './exit-codes.ts';

const page = await readFile(join(import.meta.dirname, '../docs/cli.md'), 'utf8');
const examples = [...page.matchAll(/^\$ kubectl vm (.*)$/gm)].map(([, line = '']) => line.split(' '));

it('shows every command, in words that the command understands', () => {
  const shown = examples.map((words) => {
    const parsed = parseArguments(words);
    return parsed.help ? 'help' : parsed.command.name;
  });
  for (const { name } of COMMANDS) expect(shown).toContain(name);
});

it('lists the exit codes', () => {
  const rows = [...page.matchAll(/^\| (\d) \| (.*) \|$/gm)].map(([, code, text]) => ({
    code: Number(code),
    text,
  }));
  expect(rows).toEqual(EXIT_CODES.map(({ code, text }) => ({ code, text })));
});
