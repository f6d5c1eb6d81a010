import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesBetween, cpuQuantity, formatBytes, parseBytes, parsedBytes, parsedCpu } from './quantity.ts';

describe('parseBytes', () => {
  it.each([
    ['0', 0n],
    ['512', 512n],
    ['1k', 1000n],
    ['1Ki', 1024n],
    ['0.5Gi', 536_870_912n],
    ['1.5M', 1_500_000n],
    ['1Ti', 1_099_511_627_776n],
    ['0.0000001Ki', 1n],
    ['999999999999999Ti', 999_999_999_999_999n * 1024n ** 4n],
  ])('%s is %s bytes', (quantity, bytes) => {
    expect(parseBytes(quantity)).toBe(bytes);
  });

  it.each(['', 'Gi', '1e3', '1.Gi', '.5Gi', '-1', '+1', '1 Gi', '1gi', '1Pi', '1m', '0x10', '1\n'])(
    'refuses %j',
    (quantity) => {
      expect(() => parseBytes(quantity)).toThrow(
        `${JSON.stringify(quantity).replace('\\n', '\n')} is not a quantity of bytes; write for example 512Mi or 10Gi`,
      );
    },
  );
});

describe('formatBytes', () => {
  it.each([
    [0n, '0'],
    [1000n, '1000'],
    [1024n, '1Ki'],
    [1024n ** 3n * 3n, '3Gi'],
    [1024n ** 5n, '1024Ti'],
  ])('%s bytes are %s', (bytes, quantity) => {
    expect(formatBytes(bytes)).toBe(quantity);
  });

  it('is read back as the same number', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n }), (bytes) => {
        expect(parseBytes(formatBytes(bytes))).toBe(bytes);
      }),
    );
  });
});

describe('bytesBetween', () => {
  const size = bytesBetween('1Mi', '1Gi', 'the size');
  const complaints = (value: unknown) =>
    size.safeParse(value).error?.issues.map((issue) => issue.message) ?? [];

  it.each(['1Mi', '1Gi', '1048576', '0.001Gi', '1073.741824M'])('takes %s', (value) => {
    expect(complaints(value)).toEqual([]);
  });
  it.each(['1048575', '1.000000001Gi', '0', '2Gi'])('says of %s that it is out of bounds', (value) => {
    expect(complaints(value)).toEqual(['the size must be between 1Mi and 1Gi']);
  });
  it.each(['', 'x', '1e9', '1.0000000001Gi', '1Gi\n'])('says of %j only that it is no size', (value) => {
    expect(complaints(value)).toEqual([
      'must be a size: a number with Ki, Mi, Gi, Ti, k, M, G, T or nothing behind it, such as 512Mi or 10Gi',
    ]);
  });
});

it.each(['2', '0.5', '250m', '1.125', '999999'])('%s is an amount of CPU', (value) => {
  expect(cpuQuantity.safeParse(value).success).toBe(true);
});
it.each(['', '-1', '1.2345', '0.5m', 'one', '1e3', '1000000'])('%j is no amount of CPU', (value) => {
  expect(cpuQuantity.safeParse(value).success).toBe(false);
  expect(parsedCpu(value)).toBeUndefined();
});
it('compares amounts of CPU in thousandths', () => {
  expect(['2', '0.5', '250m', undefined].map(parsedCpu)).toEqual([2000, 500, 250, undefined]);
});
it('knows no bytes of what is no size', () => {
  expect(['1Ki', '1e3', undefined].map(parsedBytes)).toEqual([1024n, undefined, undefined]);
});
