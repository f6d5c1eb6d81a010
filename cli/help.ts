/** Help pages, from the table of commands. */
import { COMMANDS, type Command } from './commands.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { GLOBAL_OPTIONS, OPTIONS, type OptionDefinition, type OptionName } from './options.ts';

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}

function optionRow(name: OptionName): readonly [string, string] {
  const { short, value, text }: OptionDefinition = OPTIONS[name];
  return [`${short ? `-${short}, ` : '    '}--${name}${value ? ` ${value}` : ''}`, text];
}

/** The page of one command. */
export function commandHelp(command: Command): string {
  return [
    `${command.summary}.`,
    '',
    ...(command.details ? [command.details, ''] : []),
    'Usage:',
    `  kubectl vm ${command.name}${command.usage ? ` ${command.usage}` : ''} [options]`,
    '',
    'Options:',
    ...table([...command.options, ...GLOBAL_OPTIONS].map(optionRow)),
    '',
    'Examples:',
    ...command.examples.map((example) => `  ${example}`),
    '',
  ].join('\n');
}

/** The page without a command. */
export function overview(): string {
  return [
    'Virtual machines of Vmstead: console, power, state.',
    '',
    'Usage:',
    '  kubectl vm COMMAND [options]',
    '',
    'Commands:',
    ...table([
      ...COMMANDS.map((command) => [`${command.name} ${command.usage}`.trimEnd(), command.summary] as const),
      ['help [COMMAND]', 'This page, or the page of a command'],
    ]),
    '',
    'Options of every command:',
    ...table(GLOBAL_OPTIONS.map(optionRow)),
    '',
    'Exit codes:',
    ...table(EXIT_CODES.map(({ code, text }) => [String(code), text] as const)),
    '',
  ].join('\n');
}
