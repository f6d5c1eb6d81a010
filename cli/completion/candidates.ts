/** What may stand next on a command line of `kubectl vm`. */
import { COMMANDS } from '../commands.ts';
import { GLOBAL_OPTIONS, OPTIONS, type OptionDefinition, type OptionName } from '../options.ts';

export interface Candidate {
  readonly word: string;
  readonly text?: string;
}

/** Words to choose from, or what the shell or the cluster must be asked for. */
export type Choice =
  | { readonly from: 'words'; readonly candidates: readonly Candidate[] }
  | { readonly from: 'vms' | 'namespaces' | 'contexts' | 'files'; readonly prefix: string };

const definitions: Record<string, OptionDefinition> = OPTIONS;

function optionOf(word: string): { name: string; definition: OptionDefinition } | undefined {
  const entry = Object.entries(definitions).find(
    ([name, { short }]) => word === `--${name}` || (short !== undefined && word === `-${short}`),
  );
  return entry && { name: entry[0], definition: entry[1] };
}

const VALUES: Partial<Record<string, 'namespaces' | 'contexts' | 'files'>> = {
  output: 'files',
  namespace: 'namespaces',
  context: 'contexts',
  kubeconfig: 'files',
};

/** @param words the words after `kubectl vm`; the last one is being written and may be empty */
export function choose(words: readonly string[]): Choice {
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const given: string[] = [];
  let pending: string | undefined;
  for (const word of before) {
    if (pending !== undefined) pending = undefined;
    else if (word.startsWith('-')) {
      const option = optionOf(word);
      pending = option?.definition.value === undefined ? undefined : option.name;
    } else given.push(word);
  }
  if (pending !== undefined) {
    const from = VALUES[pending];
    return from === undefined ? of([], current) : { from, prefix: current };
  }
  const all = COMMANDS.map((command) => ({ word: command.name, text: command.summary }));
  const [name, ...names] = given;
  const command = COMMANDS.find((each) => each.name === name);
  if (current.startsWith('-')) {
    const options: readonly OptionName[] = [...(command?.options ?? []), ...GLOBAL_OPTIONS];
    return of(
      options.map((each) => ({ word: `--${each}`, text: OPTIONS[each].text })),
      current,
    );
  }
  if (name === undefined) return of([...all, { word: 'help', text: 'Show help' }], current);
  if (name === 'help') return of(names.length === 0 ? all : [], current);
  if (command === undefined || names.length >= command.maxNames) return of([], current);
  if (command.name === 'completion') {
    return of(
      ['bash', 'zsh', 'fish'].map((word) => ({ word })),
      current,
    );
  }
  if (command.name === 'image') {
    return of(names.length === 0 ? [{ word: 'list' }, { word: 'upload' }] : [], current);
  }
  return { from: 'vms', prefix: current };
}

function of(candidates: readonly Candidate[], prefix: string): Choice {
  return { from: 'words', candidates: candidates.filter(({ word }) => word.startsWith(prefix)) };
}

/** The value of an option among words that may still be incomplete. */
export function optionValue(words: readonly string[], option: OptionName): string | undefined {
  const index = words.findIndex((word) => optionOf(word)?.name === option);
  return index < 0 || index + 1 >= words.length - 1 ? undefined : words[index + 1];
}
