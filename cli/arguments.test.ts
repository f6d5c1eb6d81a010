import { describe, expect, it } from 'vitest';
import { parseArguments } from './arguments.ts';
import { COMMANDS } from './commands.ts';

const parsed = (line: string) => {
  const result = parseArguments(line === '' ? [] : line.split(' '));
  return result.help
    ? { help: result.command?.name ?? 'all' }
    : { command: result.command.name, names: result.names, options: result.options };
};
const mistake = (line: string): string => {
  try {
    parsed(line);
  } catch (error) {
    return (error as Error).message;
  }
  return 'understood';
};

describe('parseArguments', () => {
  it('takes options anywhere, as kubectl does', () => {
    const expected = {
      command: 'stop',
      names: ['web', 'db'],
      options: { namespace: 'shop', force: true, timeout: '10s' },
    };
    expect(parsed('stop web db -n shop --force --timeout 10s')).toEqual(expected);
    expect(parsed('-n shop stop --timeout=10s web --force db')).toEqual(expected);
    expect(parsed('--namespace=shop --force stop web --timeout 10s db')).toEqual(expected);
  });

  it.each([
    ['', 'all'],
    ['help', 'all'],
    ['help stop', 'stop'],
    ['stop --help', 'stop'],
    ['-h', 'all'],
  ])('shows help for %j', (line, help) => {
    expect(parsed(line)).toEqual({ help });
  });

  it.each([
    ['halt web', 'there is no command "halt"; see kubectl vm help'],
    ['st web', 'there is no command "st"; is it start or stop; see kubectl vm help'],
    ['descirbe web', 'there is no command "descirbe"; is it describe; see kubectl vm help'],
    ['lgos web', 'there is no command "lgos"; is it logs; see kubectl vm help'],
    ['--foo', 'there is no option --foo; see kubectl vm help'],
    ['stop', 'write kubectl vm stop VM...; see kubectl vm help stop'],
    ['console a b', 'write kubectl vm console VM; see kubectl vm help console'],
    ['version web', 'version takes no argument; see kubectl vm help version'],
    ['pause web --force', 'pause has no option --force; see kubectl vm help pause'],
    ['stop web --wait', 'stop has no option --wait; see kubectl vm help stop'],
    ['stop web -x', 'stop has no option -x; see kubectl vm help stop'],
    ['stop web --force=no', '--force takes no value; see kubectl vm help stop'],
    ['stop web --timeout', '--timeout needs a value; see kubectl vm help stop'],
    ['describe web -A', '-A goes without -n and without names; see kubectl vm help describe'],
    ['describe -A -n x', '-A goes without -n and without names; see kubectl vm help describe'],
  ])('says what is wrong with %j', (line, message) => {
    expect(mistake(line)).toBe(message);
  });
});

it('gives every command an example that it understands', () => {
  for (const { name, examples } of COMMANDS) {
    expect(examples.length, name).toBeGreaterThan(0);
    for (const example of examples) {
      const line = /(?:^|\()kubectl vm ([^)]*)/.exec(example)?.[1] ?? '';
      expect(parsed(line), example).toMatchObject({ command: name });
    }
  }
});
