import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { atomicList, described, exactlyOne, integer, listMap, matching, stringMap, text } from './schema.ts';
import { toStructuralSchema } from './to-crd.ts';

describe('toStructuralSchema', () => {
  it('keeps bounds, descriptions, list types and rules', () => {
    const item = z.strictObject({ name: text(10, 1), port: integer(1, 65535).optional() });
    const schema = z.strictObject({
      items: described('Things.', listMap(item, 'name', 4)),
      words: atomicList(z.enum(['a', 'b']), 2, 1).optional(),
      labels: stringMap(3, 5).optional(),
    });
    expect(toStructuralSchema(schema)).toEqual({
      type: 'object',
      required: ['items'],
      properties: {
        items: {
          description: 'Things.',
          type: 'array',
          maxItems: 4,
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: {
            type: 'object',
            required: ['name'],
            properties: {
              name: { type: 'string', minLength: 1, maxLength: 10 },
              port: { type: 'integer', format: 'int64', minimum: 1, maximum: 65535 },
            },
          },
        },
        words: {
          type: 'array',
          minItems: 1,
          maxItems: 2,
          'x-kubernetes-list-type': 'atomic',
          items: { type: 'string', enum: ['a', 'b'] },
        },
        labels: {
          type: 'object',
          maxProperties: 3,
          additionalProperties: { type: 'string', maxLength: 5 },
        },
      },
    });
  });

  it('states a union as CEL', () => {
    const schema = exactlyOne(
      z.strictObject({ a: text(1).optional(), b: text(1).optional() }),
      ['a', 'b'],
      'must have exactly one of a and b',
    );
    expect(toStructuralSchema(schema)['x-kubernetes-validations']).toEqual([
      { rule: '[has(self.a), has(self.b)].exists_one(x, x)', message: 'must have exactly one of a and b' },
    ]);
  });

  it('keeps a rule when a description comes after it', () => {
    const schema = described('A name.', matching(/^a+$/, 5, 'must be some a'));
    expect(toStructuralSchema(schema)).toEqual({
      description: 'A name.',
      type: 'string',
      maxLength: 5,
      'x-kubernetes-validations': [{ rule: "self.matches(r'^a+$')", message: 'must be some a' }],
    });
  });

  it.each([
    [
      'a union',
      z.strictObject({ a: z.union([z.string(), z.int()]) }),
      'a: type undefined has no place in a CRD',
    ],
    ['a tuple', z.strictObject({ a: z.tuple([z.string()]) }), 'a[]: type undefined has no place in a CRD'],
    ['a null', z.strictObject({ a: z.string().nullable() }), 'a: nullable has no place in a CRD'],
    [
      'a pattern, which prints a regular expression to people',
      z.strictObject({ a: z.string().regex(/x/) }),
      'a: pattern has no place in a CRD',
    ],
  ])('refuses %s', (_, schema, message) => {
    expect(() => toStructuralSchema(schema)).toThrow(message);
  });
});
