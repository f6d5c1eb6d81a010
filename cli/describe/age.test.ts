import { expect, it } from 'vitest';
import { age, since } from './age.ts';

const S = 1000;
const M = 60 * S;
const H = 60 * M;
const D = 24 * H;

it.each([
  [-5, '0s'],
  [0, '0s'],
  [119 * S, '119s'],
  [2 * M, '2m'],
  [2 * M + 5 * S, '2m5s'],
  [10 * M + 5 * S, '10m'],
  [3 * H + 10 * M, '3h10m'],
  [9 * H, '9h'],
  [3 * D, '3d'],
  [3 * D + 4 * H, '3d4h'],
  [40 * D, '40d'],
])('%d ms are %s, as kubectl writes it', (milliseconds, text) => {
  expect(age(milliseconds)).toBe(text);
});

it('has no age without a date', () => {
  expect(since(undefined, 0)).toBe('');
  expect(since('1970-01-01T00:00:10Z', 70 * S)).toBe('60s');
});
