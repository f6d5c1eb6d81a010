import { expect, test } from 'vitest';
import { stopTimes } from './stop-times.ts';

test.each([
  [0, { quitAt: 1000, killAt: 1500 }],
  [1, { quitAt: 1000, killAt: 1500 }],
  [30, { quitAt: 28_000, killAt: 29_500 }],
  [120, { quitAt: 116_000, killAt: 118_500 }],
])('%i s of grace', (grace, times) => {
  expect(stopTimes(1000, grace)).toEqual(times);
});
