/** DELETE → the pod's object is gone. */
import type { Measurement } from '../measurement.ts';
import { summarize } from '../statistics.ts';
import type { Pair } from './pairs.ts';

export function deletion(pairs: readonly Pair[]): Measurement {
  return {
    bench: 'delete',
    figures: (['floor', 'ours'] as const).map((side) => ({
      id: `delete.${side}`,
      unit: 's',
      summary: summarize(pairs.map((pair) => pair[side].deleted)),
    })),
    notes: [],
  };
}
