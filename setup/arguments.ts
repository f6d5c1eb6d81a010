/** Arguments of `npm run NAME -- …` and their help, from the table of commands. Pure. */
import { parseArgs } from 'node:util';
import type { Command, Given } from './command-module.ts';

/** Wrong words on the command line. */
export class UsageError extends Error {}

/** How the command is written, as npm wants it. */
function invocation(name: string): string {
  return ['start', 'stop', 'test'].includes(name) ? `npm ${name}` : `npm run ${name}`;
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}

/** The page of one command. */
export function commandHelp(name: string, { summary, options = {}, words, passesOn }: Command): string {
  const rows = Object.entries(options).map(
    ([option, { value, text, default: preset }]) =>
      [
        `--${option}${value ? ` ${value}` : ''}`,
        preset === undefined ? text : `${text} (${preset})`,
      ] as const,
  );
  const takes = [
    ...(passesOn === undefined ? [] : [`[arguments of ${passesOn}]`]),
    ...(words === undefined ? [] : [words.usage]),
    ...(rows.length > 0 ? ['[options]'] : []),
  ];
  return [
    `${invocation(name)}: ${summary}`,
    '',
    `Usage: ${invocation(name)}${takes.length > 0 ? ` -- ${takes.join(' ')}` : ''}`,
    ...(words?.choices === undefined ? [] : ['', `${words.usage}: ${words.choices.join(', ')}; all of them`]),
    ...(rows.length === 0 ? [] : ['', ...table(rows)]),
  ].join('\n');
}

/** The page without a command. */
export function overview(commands: Readonly<Record<string, Command>>): string {
  return table(Object.entries(commands).map(([name, { summary }]) => [invocation(name), summary])).join('\n');
}

/** Whether the page of the command was asked for. */
export function wantsHelp(args: readonly string[]): boolean {
  return args.includes('--help') || args.includes('-h');
}

/** @throws UsageError with what is wrong and the command's page */
export function argumentsOf(name: string, command: Command, args: readonly string[]): Given {
  if (command.passesOn !== undefined) return { args, values: {}, words: args };
  const wrong = (what: string): UsageError => new UsageError(`${what}\n\n${commandHelp(name, command)}`);
  const { words, options = {} } = command;
  let parsed: { values: Given['values']; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: Object.fromEntries(
        Object.entries(options).map(([option, { value, default: preset }]) => [
          option,
          {
            type: value === undefined ? 'boolean' : 'string',
            ...(preset === undefined ? {} : { default: preset }),
          } as const,
        ]),
      ),
    });
  } catch (error) {
    throw wrong((error as Error).message.split('. ')[0] ?? '');
  }
  const { values, positionals } = parsed;
  if (positionals.length > (words === undefined ? 0 : (words.most ?? Number.POSITIVE_INFINITY))) {
    throw wrong(words === undefined ? `${name} takes no ${positionals[0]}` : `too many arguments`);
  }
  const unknown = positionals.find((word) => words?.choices?.includes(word) === false);
  if (unknown !== undefined) throw wrong(`there is no ${JSON.stringify(unknown)}`);
  for (const [option, { least }] of Object.entries(options)) {
    const value = values[option];
    if (least !== undefined && value !== undefined && !(Number(value) >= least)) {
      throw wrong(`--${option} ${value} is no number from ${least} on`);
    }
  }
  const noNumber = positionals.find((word) => words?.numbers === true && !/^\d+$/.test(word));
  if (noNumber !== undefined) throw wrong(`${noNumber} is no number`);
  return { args, values, words: positionals };
}
