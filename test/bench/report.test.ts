import { describe, expect, it } from 'vitest';
import { GOALS } from './goals.ts';
import type { Figure } from './measurement.ts';
import { brief, table } from './report.ts';
import { summarize } from './statistics.ts';

const around = { date: '2026-11-20 22:00', commit: 'abc', machine: 'm', load: 'l', versions: 'v', notes: [] };
const row = (text: string, title: string) => text.split('\n').find((line) => line.startsWith(`| ${title}`));
const figure = (id: Figure['id'], ...values: number[]): Figure => ({
  id,
  unit: 's',
  summary: summarize(values),
});

describe('table', () => {
  it('has a row for each promise, and says what was not measured', () => {
    expect(table({}).split('\n')).toHaveLength(GOALS.length + 2);
    expect(row(table({}), 'delete')).toBe(
      '| delete → pod gone (grace 0) | s | not measured yet | 3.08 | not measured yet | 1.0 |  | `delete` |',
    );
  });

  it('says whether a promise is kept', () => {
    const of = (seconds: number) =>
      table({
        delete: {
          ...around,
          bench: 'delete',
          figures: [figure('delete.floor', 0.8), figure('delete.ours', ...Array<number>(15).fill(seconds))],
        },
      });
    expect(row(of(0.95), 'delete')).toContain('| 0.80 | 3.08 | 0.95 | 1.0 | yes |');
    expect(row(of(1.05), 'delete')).toContain('| 1.05 | 1.0 | **no** |');
  });

  it('gives no verdict on times of one VM after a few runs', () => {
    const text = table({
      delete: { ...around, bench: 'delete', figures: [figure('delete.ours', 0.5, 0.6)] },
    });
    expect(row(text, 'delete')).toContain('| 1.0 | too few runs |');
  });

  it('compares with the floor pair by pair, not median by median', () => {
    const of = (difference: number) =>
      table({
        start: {
          ...around,
          bench: 'start',
          figures: [
            figure('start.floor.guestUp', 4),
            figure('start.ours.guestUp', ...Array<number>(15).fill(4.1)),
            figure('start.difference.guestUp', difference),
          ],
        },
      });
    expect(row(of(0.25), 'create → guest up')).toContain('| yes |');
    expect(row(of(0.35), 'create → guest up')).toContain('| **no** |');
  });
});

describe('brief', () => {
  it('gives the interval where there is one, else the extremes and how few there are', () => {
    expect(brief(summarize([1, 2, 3, 4, 5, 6]), 's')).toBe('3.50 [1, 6]');
    expect(brief(summarize([1.5, 2.5]), 's')).toBe('2 (1.50 to 2.50, n = 2)');
    expect(brief(summarize([7]), 'requests')).toBe('7');
  });
});
