import { expect, test } from 'vitest';
import { TokenBucket } from './token-bucket.ts';

test('a burst passes, then so many a second', () => {
  let now = 0;
  const bucket = new TokenBucket(10, 3, () => now);
  expect([1, 2, 3].map(() => bucket.take())).toEqual([0, 0, 0]);
  expect(bucket.take()).toBe(100);
  now += 100;
  expect(bucket.take()).toBe(0);
  expect(bucket.take()).toBeGreaterThan(0);
  now += 10_000;
  expect([1, 2, 3].map(() => bucket.take())).toEqual([0, 0, 0]);
  expect(bucket.take()).toBeGreaterThan(0);
});
