/** create → running → guest up, of one VM. */
import type { Figure, Measurement } from '../measurement.ts';
import { summarize } from '../statistics.ts';
import type { Pair, Start } from './pairs.ts';

export function start(pairs: readonly Pair[]): Measurement {
  const figures: Figure[] = [];
  for (const what of ['running', 'guestUp'] as const) {
    const of = (pick: (pair: Pair) => number) => summarize(pairs.map(pick));
    figures.push(
      { id: `start.floor.${what}`, unit: 's', summary: of(({ floor }) => floor[what]) },
      { id: `start.ours.${what}`, unit: 's', summary: of(({ ours }) => ours[what]) },
      {
        id: `start.difference.${what}`,
        unit: 's',
        summary: of(({ floor, ours }) => ours[what] - floor[what]),
      },
    );
  }
  const stages: [string, keyof Start][] = [
    ['pod object seen', 'podSeen'],
    ['pod scheduled', 'scheduled'],
    ['pod phase Running', 'podRunning'],
    ['machine running (status)', 'running'],
    ['guest up (its own line)', 'guestUp'],
    ['guest up (status)', 'guestReady'],
  ];
  const median = (side: 'floor' | 'ours', stage: keyof Start): string => {
    const values = pairs.map((pair) => pair[side][stage]).filter((value) => typeof value === 'number');
    return values.length === 0 ? '–' : summarize(values).median.toFixed(2);
  };
  const notes = [
    '| since POST, s (medians) | floor | Vmstead |',
    '|---|---|---|',
    ...stages.map(([name, stage]) => `| ${name} | ${median('floor', stage)} | ${median('ours', stage)} |`),
  ];
  return { bench: 'start', figures, notes };
}
