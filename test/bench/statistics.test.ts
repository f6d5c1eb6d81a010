import { describe, expect, it } from 'vitest';
import { intervalRank, summarize } from './statistics.ts';

describe('intervalRank', () => {
  // Table of the sign test, for instance in Conover, Practical Nonparametric Statistics, table A3.
  it.each([
    [5, undefined],
    [6, 1],
    [8, 1],
    [9, 2],
    [12, 3],
    [15, 4],
    [16, 4],
    [20, 6],
    [25, 8],
  ])('of %d values is %s', (n, rank) => {
    expect(intervalRank(n)).toBe(rank);
  });
});

describe('summarize', () => {
  it('takes the middle, or the mean of the two in the middle', () => {
    expect(summarize([3, 1, 2]).median).toBe(2);
    expect(summarize([4, 1, 3, 2]).median).toBe(2.5);
  });

  it('gives the fourth from either end for fifteen', () => {
    const values = Array.from({ length: 15 }, (_, index) => index + 1);
    expect(summarize(values.toReversed())).toEqual({ n: 15, median: 8, interval: [4, 12], min: 1, max: 15 });
  });

  it('claims no interval for five', () => {
    expect(summarize([1, 2, 3, 4, 5]).interval).toBeUndefined();
  });

  it('refuses an empty series', () => {
    expect(() => summarize([])).toThrow('nothing was measured');
  });
});
