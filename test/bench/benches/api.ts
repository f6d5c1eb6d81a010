/** Requests to the API server, create → guest up. */
import type { Cost } from '../audit.ts';
import type { Figure, Measurement } from '../measurement.ts';
import { summarize } from '../statistics.ts';
import type { Pair } from './pairs.ts';

export function api(pairs: readonly Pair[]): Measurement {
  const costs = (side: keyof Pair): Cost[] =>
    pairs.map((pair) => pair[side].cost).filter((cost) => cost !== undefined);
  const figures: Figure[] = [];
  const notes: string[] = [];
  for (const side of ['floor', 'ours'] as const) {
    const list = costs(side);
    if (list.length === 0) continue;
    for (const what of ['all', 'writes', 'events'] as const) {
      figures.push({
        id: `api.${side}.${what}`,
        unit: 'requests',
        summary: summarize(list.map((cost) => cost[what])),
      });
    }
    notes.push(
      `${side === 'floor' ? 'Floor' : 'Vmstead'}, mean a run, events not among them: ${breakdown(list)}.`,
    );
  }
  return { bench: 'api', figures, notes };
}

function breakdown(costs: readonly Cost[]): string {
  const total: Record<string, number> = {};
  for (const { by } of costs) {
    for (const [key, times] of Object.entries(by)) total[key] = (total[key] ?? 0) + times;
  }
  return Object.entries(total)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, times]) => `${key} ${Number((times / costs.length).toFixed(1))}`)
    .join('; ');
}
