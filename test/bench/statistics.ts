/** What is said of a series of measurements: the median, and how sure of it one may be. Pure. */

/** A median with an interval that holds the true one, whatever the distribution. */
export interface Summary {
  n: number;
  median: number;
  /** Undefined where there are too few values for 95 %: then only the extremes are known. */
  interval: readonly [low: number, high: number] | undefined;
  min: number;
  max: number;
}

const CONFIDENCE = 0.95;

/** @throws Error for no values at all */
export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined) throw new Error('nothing was measured');
  const median = (sorted[(n - 1) >> 1]! + sorted[n >> 1]!) / 2;
  const rank = intervalRank(n);
  const interval = rank === undefined ? undefined : ([sorted[rank - 1]!, sorted[n - rank]!] as const);
  return { n, median, interval, min, max };
}

/**
 * The rank k for which the k-th smallest and k-th largest of n values hold the median between them with at
 * least 95 % probability: each value is below the median with probability one half, independently.
 * Undefined below n = 6, where even the extremes do not.
 */
export function intervalRank(n: number): number | undefined {
  let rank: number | undefined;
  let below = 0;
  let choose = 1;
  for (let k = 0; 2 * k < n; k++) {
    below += choose * 0.5 ** n;
    if (1 - 2 * below < CONFIDENCE) break;
    rank = k + 1;
    choose = (choose * (n - k)) / (k + 1);
  }
  return rank;
}
