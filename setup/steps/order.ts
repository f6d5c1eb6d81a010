import type { Step } from './step.ts';

/**
 * The steps that `wanted` needs, itself included, each after those it needs.
 *
 * @throws Error for an unknown step or a circle
 */
export function stepsFor(all: readonly Step[], wanted: readonly string[]): Step[] {
  const byName = new Map(all.map((step) => [step.name, step]));
  const ordered: Step[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const visit = (name: string, path: readonly string[]): void => {
    if (state.get(name) === 'done') return;
    if (state.get(name) === 'open')
      throw new Error(`steps need each other in a circle: ${[...path, name].join(' → ')}`);
    const step = byName.get(name);
    if (!step) throw new Error(`there is no set-up step "${name}" (wanted by ${path.at(-1) ?? 'a command'})`);
    state.set(name, 'open');
    for (const need of step.needs) visit(need, [...path, name]);
    state.set(name, 'done');
    ordered.push(step);
  };
  for (const name of wanted) visit(name, []);
  return ordered;
}
