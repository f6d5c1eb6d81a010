/** Arguments → what to run. Options may stand anywhere, as with kubectl. */
import { parseArgs } from 'node:util';
import { VmsteadError } from '../crds/errors.ts';
import { COMMANDS, type Command } from './commands.ts';
import {
  GLOBAL_OPTIONS,
  OPTIONS,
  type OptionDefinition,
  type OptionName,
  type OptionValues,
} from './options.ts';

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

function usage(message: string, command?: Command): VmsteadError {
  const page = command === undefined ? 'kubectl vm help' : `kubectl vm help ${command.name}`;
  return new VmsteadError('Usage', `${message}; see ${page}`);
}

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
    return { help: true, command: names[0] === undefined ? undefined : commandNamed(names[0]) };
  }
  const command = commandNamed(name);
  if (wantsHelp) return { help: true, command };

  const allowed: readonly string[] = [...GLOBAL_OPTIONS, ...command.options];
  const options: Record<string, string | boolean> = {};
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    if (!allowed.includes(token.name)) {
      throw usage(`${command.name} has no option ${token.rawName}`, command);
    }
    const takesValue = 'value' in OPTIONS[token.name as OptionName];
    if (takesValue && token.value === undefined) throw usage(`${token.rawName} needs a value`, command);
    if (!takesValue && token.value !== undefined) throw usage(`${token.rawName} takes no value`, command);
    options[token.name] = token.value ?? true;
  }
  if (names.length < command.minNames || names.length > command.maxNames) {
    throw usage(`${command.name} takes ${command.usage || 'no argument'}`, command);
  }
  if (options['all-namespaces'] && (options.namespace !== undefined || names.length > 0)) {
    throw usage('-A goes without -n and without names', command);
  }
  return { help: false, command, names, options };
}

function commandNamed(name: string): Command {
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) throw usage(`there is no command ${JSON.stringify(name)}`);
  return command;
}

/**
 * Milliseconds of a duration such as `90`, `90s`, `5m` or `1h30m`.
 *
 * @throws VmsteadError `Usage`
 */
export function parseDuration(text: string): number {
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?$/.exec(text);
  const [, hours, minutes, seconds] = match ?? [];
  if (match === null || text === '') {
    throw usage(`${JSON.stringify(text)} is no time; write for example 30s, 5m or 1h30m`);
  }
  return ((Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * 60 + Number(seconds ?? 0)) * 1000;
}

/** Name of a VM, also when it is written as kubectl prints it: `vm/web`. */
export function vmName(text: string): string {
  const name = text.replace(/^(vm|vmst|virtualmachines?)(\.vmstead\.io)?\//, '');
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)) {
    throw usage(`${JSON.stringify(text)} is no name of a VM`);
  }
  return name;
}
