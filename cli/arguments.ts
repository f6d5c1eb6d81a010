/** Arguments → what to run. Options may stand anywhere, as with kubectl. */
import { parseArgs } from 'node:util';
import { COMMANDS, type Command } from './commands.ts';
import {
  GLOBAL_OPTIONS,
  OPTIONS,
  type OptionDefinition,
  type OptionName,
  type OptionValues,
} from './options.ts';
import { usage } from './usage.ts';

export type Parsed =
  | { readonly help: true; readonly command: Command | undefined }
  | {
      readonly help: false;
      readonly command: Command;
      readonly names: readonly string[];
      readonly options: OptionValues;
    };

const PARSE_OPTIONS = Object.fromEntries(
  Object.entries(OPTIONS as Record<string, OptionDefinition>).map(([name, { short, value }]) => [
    name,
    { type: value === undefined ? ('boolean' as const) : ('string' as const), ...(short ? { short } : {}) },
  ]),
);

/** @throws VmsteadError `Usage` */
export function parseArguments(args: readonly string[]): Parsed {
  const { tokens } = parseArgs({
    args: [...args],
    options: PARSE_OPTIONS,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const words = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
  const wantsHelp = tokens.some((token) => token.kind === 'option' && token.name === 'help');
  const [name, ...names] = words;
  if (name === undefined || name === 'help') {
    const unknown = tokens.find((token) => token.kind === 'option' && !(token.name in OPTIONS));
    if (unknown?.kind === 'option') throw usage(`there is no option ${unknown.rawName}`);
    return { help: true, command: names[0] === undefined ? undefined : commandNamed(names[0]) };
  }
  const command = commandNamed(name);
  if (wantsHelp) return { help: true, command };

  const wrong = (message: string) => usage(message, command.name);
  const allowed: readonly string[] = [...GLOBAL_OPTIONS, ...command.options];
  const options: Record<string, string | boolean> = {};
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    if (!allowed.includes(token.name)) {
      throw wrong(`${command.name} has no option ${token.rawName}`);
    }
    const takesValue = 'value' in OPTIONS[token.name as OptionName];
    if (takesValue && token.value === undefined) throw wrong(`${token.rawName} needs a value`);
    if (!takesValue && token.value !== undefined) throw wrong(`${token.rawName} takes no value`);
    options[token.name] = token.value ?? true;
  }
  if (names.length < command.minNames || names.length > command.maxNames) {
    throw wrong(
      command.usage
        ? `write kubectl vm ${command.name} ${command.usage}`
        : `${command.name} takes no argument`,
    );
  }
  const named = names.length > 0 && command.name !== 'image';
  if (options['all-namespaces'] && (options.namespace !== undefined || named)) {
    throw wrong('-A goes without -n and without names');
  }
  return { help: false, command, names, options };
}

function commandNamed(name: string): Command {
  const command = COMMANDS.find((each) => each.name === name);
  if (command !== undefined) return command;
  const near = COMMANDS.map((each) => each.name).filter((each) => isNear(name, each));
  const meant = near.length > 0 ? `; is it ${near.join(' or ')}` : '';
  throw usage(`there is no command ${JSON.stringify(name)}${meant}`);
}

/** Whether somebody who wrote `word` may have meant `name`: its beginning, or a letter or two off. */
function isNear(word: string, name: string): boolean {
  return name.startsWith(word) || distance(word, name) <= (word.length > 3 ? 2 : 1);
}

/** Letters to add, drop or replace. */
function distance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const now = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = above[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1);
      now.push(Math.min(replaced, above[column]! + 1, now[column - 1]! + 1));
    }
    above = now;
  }
  return above[b.length]!;
}
