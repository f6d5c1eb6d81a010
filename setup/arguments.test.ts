import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { argumentsOf, commandHelp, overview, UsageError, wantsHelp } from './arguments.ts';
import { commands } from './commands.ts';
import { root } from './paths.ts';

const given = (name: string, ...args: string[]) => argumentsOf(name, commands[name]!, args);
const mistake = (name: string, ...args: string[]): string => {
  try {
    given(name, ...args);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return 'understood';
};

describe.each(Object.entries(commands))('%s', (name, command) => {
  it('has a page with its options', () => {
    expect(commandHelp(name, command)).toContain(
      `Usage: npm ${name.replace(/^(?!start|stop|test$)/, 'run ')}`,
    );
    for (const option of Object.keys(command.options ?? {}))
      expect(commandHelp(name, command)).toContain(`--${option}`);
  });
  it('refuses what it does not know, with its page', () => {
    if (command.passesOn !== undefined) return;
    expect(mistake(name, '--no-such-thing')).toBe(
      `Unknown option '--no-such-thing'\n\n${commandHelp(name, command)}`,
    );
    if (command.words === undefined) expect(mistake(name, 'word')).toContain(`${name} takes no word\n`);
  });
});

it('knows when a page is asked for', () => {
  expect([['--help'], ['x', '-h'], ['help'], []].map(wantsHelp)).toEqual([true, true, false, false]);
});

it('reads values, words and defaults', () => {
  expect(given('bench', 'start', '--n', '3')).toMatchObject({
    values: { n: '3', rounds: '3' },
    words: ['start'],
  });
  expect(given('images', '--push', 'registry.example/vmstead').values.push).toBe('registry.example/vmstead');
  expect(given('test:unit', 'cli', '--watch').args).toEqual(['cli', '--watch']);
});

it.each([
  [['bench', 'speed'], 'there is no "speed"'],
  [['bench', '--n', '0'], '--n 0 is no number from 1 on'],
  [['bench', '--rounds', 'many'], '--rounds many is no number from 1 on'],
  [['images', '--push'], "Option '--push <value>' argument missing"],
  [['soak', 'ten'], 'ten is no number'],
  [['soak', '1', '2', '3'], 'too many arguments'],
  [['chaos', 'a', 'b'], 'too many arguments'],
])('%j: %s', ([name = '', ...args], expected) => {
  expect(mistake(name, ...args).split('\n')[0]).toBe(expected);
});

it('shows every script of package.json that is one', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const ours = Object.entries(scripts).filter(([, line]) => line.includes('bootstrap.mjs'));
  expect(ours.map(([name]) => name).sort()).toEqual(Object.keys(commands).sort());
  for (const [name, line] of ours) {
    expect(line).toBe(`node setup/bootstrap.mjs ${name}`);
    expect(overview(commands)).toContain(name);
  }
});
