import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { celString, listMap, rules, stringMap, text } from './schema.ts';

const accepts = (schema: z.ZodType, value: unknown) => schema.safeParse(value).success;

describe('text', () => {
  it('counts characters as the API server does: code points, not UTF-16 units', () => {
    expect(accepts(text(2), '🙂🙂')).toBe(true);
    expect(accepts(text(2), '🙂🙂🙂')).toBe(false);
    expect(accepts(text(9, 1), '')).toBe(false);
  });
});

it('listMap refuses two entries with one key', () => {
  const list = listMap(z.strictObject({ name: z.string() }), 'name', 3);
  expect(accepts(list, [{ name: 'a' }, { name: 'b' }])).toBe(true);
  expect(accepts(list, [{ name: 'a' }, { name: 'a' }])).toBe(false);
  expect(
    accepts(
      list,
      'abcd'.split('').map((name) => ({ name })),
    ),
  ).toBe(false);
});

it('stringMap bounds entries and values', () => {
  const map = stringMap(2, 3);
  expect(accepts(map, { a: 'xyz', b: '' })).toBe(true);
  expect(accepts(map, { a: '', b: '', c: '' })).toBe(false);
  expect(accepts(map, { a: 'wxyz' })).toBe(false);
});

describe('rules', () => {
  const schema = rules(z.strictObject({ low: z.int(), high: z.int() }), [
    { cel: 'self.low <= self.high', message: 'too low', at: '.high', holds: ({ low, high }) => low <= high },
    { cel: 'self.low > 0', message: 'must be positive', holds: ({ low }) => low > 0 },
  ]).describe('A range.');

  it('say the same in both languages, at the same place', () => {
    expect(schema.meta()).toEqual({
      description: 'A range.',
      'x-kubernetes-validations': [
        { rule: 'self.low <= self.high', message: 'too low', fieldPath: '.high' },
        { rule: 'self.low > 0', message: 'must be positive' },
      ],
    });
    expect(schema.safeParse({ low: 0, high: -1 }).error?.issues).toMatchObject([
      { message: 'too low', path: ['high'] },
      { message: 'must be positive', path: [] },
    ]);
  });
});

it('writes CEL strings raw where it can', () => {
  expect(celString('^a\\.b$')).toBe("r'^a\\.b$'");
  expect(celString("it's\n")).toBe('"it\'s\\n"');
});
