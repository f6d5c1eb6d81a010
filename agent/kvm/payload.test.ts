import { expect, it } from 'vitest';
import { instructionsAfter, provingFirmware } from './payload.ts';

it('does rounds of doubling length, up to a last one', () => {
  expect(instructionsAfter(0)).toBe(0);
  expect(instructionsAfter(1)).toBe(2 * 2 ** 14);
  expect(instructionsAfter(2)).toBe(3 * 2 * 2 ** 14);
  for (const round of [12, 20]) {
    expect(instructionsAfter(round) - instructionsAfter(round - 1)).toBe(2 * 2 ** 24);
  }
});

it('is a firmware image that begins where the processor does', () => {
  const image = provingFirmware();
  expect(image).toHaveLength(65536);
  expect([...image.subarray(65536 - 16, 65536 - 11)]).toEqual([0xea, 0, 0, 0, 0xf0]);
});
