/** Objects that are right, made from a kind's schema: random, but for the place that a test is about. */
import fc from 'fast-check';
import { parseBytes } from '../../../crds/quantity.ts';
import type { StructuralSchema } from '../../../crds/to-crd.ts';

/** Any JSON value, and numbers as they are written. */
export type Json = null | boolean | number | string | Json[] | { [member: string]: Json };

/** An optional member is there once in so many times when nothing forces it. */
const OPTIONAL = 4;
const LONGEST_TEXT = 24;

/** Off the path to a target every target makes the same: built once. */
const built = new Map<StructuralSchema, fc.Arbitrary<Json>>();

/**
 * @param path of `schema`: members with dots, `[]` for the items of a list, `{}` for the values of a map
 * @param target path that must be there
 */
export function valid(schema: StructuralSchema, path: string, target: string): fc.Arbitrary<Json> {
  if (target.startsWith(path)) return build(schema, path, target);
  const arbitrary = built.get(schema) ?? build(schema, path, '');
  built.set(schema, arbitrary);
  return arbitrary;
}

function build(schema: StructuralSchema, path: string, target: string): fc.Arbitrary<Json> {
  switch (schema.type) {
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? 2 ** 31 });
    case 'string':
      return string(schema);
    case 'array':
      return fc
        .array(valid(schema.items!, `${path}[]`, target), {
          minLength: Math.max(schema.minItems ?? 0, target.startsWith(`${path}[]`) ? 1 : 0),
          maxLength: Math.min(schema.maxItems!, 3),
        })
        .map((list) => distinctBy(list, schema['x-kubernetes-list-map-keys']?.[0]));
    case 'object':
      return schema.additionalProperties ? map(schema, path, target) : object(schema, path, target);
  }
}

function object(schema: StructuralSchema, path: string, target: string): fc.Arbitrary<Json> {
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const at = `${path}.${name}`;
    const there = schema.required?.includes(name) || target === at || /^[.[{]/.test(rest(target, at));
    const value = valid(member, at, target);
    return [
      name,
      there
        ? value
        : fc.oneof(
            { arbitrary: value, weight: 1 },
            { arbitrary: fc.constant(undefined), weight: OPTIONAL - 1 },
          ),
    ] as const;
  });
  return fc
    .record(Object.fromEntries(members))
    .map((value) =>
      Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)),
    ) as fc.Arbitrary<Json>;
}

/** What follows `prefix` in `path`; empty when it does not begin so. */
function rest(path: string, prefix: string): string {
  return path.startsWith(prefix) ? path.slice(prefix.length) : '';
}

function map(schema: StructuralSchema, path: string, target: string): fc.Arbitrary<Json> {
  const key = matching(/^([a-z][a-z0-9]{0,8}\.example\/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,9}[A-Za-z0-9]$/);
  const labels = (schema['x-kubernetes-validations'] ?? []).some(({ rule }) => rule.includes('self[key]'));
  const value = labels
    ? matching(/^([A-Za-z0-9][A-Za-z0-9_.-]{0,9}[A-Za-z0-9])?$/)
    : string(schema.additionalProperties!);
  return fc.dictionary(key, value, { minKeys: target.startsWith(`${path}{}`) ? 1 : 0, maxKeys: 3 });
}

function string(schema: StructuralSchema): fc.Arbitrary<string> {
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const rules = (schema['x-kubernetes-validations'] ?? []).map(({ rule }) => rule);
  const range = rules
    .map((rule) => /quantity\('(\w+)'\)\) >= 0 .*quantity\('(\w+)'\)/.exec(rule))
    .find(Boolean);
  if (range) return size(parseBytes(range[1]!), parseBytes(range[2]!));
  const pattern = rules.map((rule) => /^self\.matches\(r'(.*)'\)$/.exec(rule)?.[1]).find(Boolean);
  const maxLength = schema.maxLength ?? LONGEST_TEXT;
  if (pattern) {
    return matching(new RegExp(pattern), maxLength);
  }
  return fc.string({
    // Any code point: astral ones count as one character for the API server and as two for JavaScript.
    unit: 'binary',
    minLength: schema.minLength ?? 0,
    maxLength: Math.min(maxLength, LONGEST_TEXT),
  });
}

/** Strings of a pattern, from a pool: making one takes as long as all the rest of an object. */
function matching(pattern: RegExp, maxLength = Number.POSITIVE_INFINITY): fc.Arbitrary<string> {
  const known = pools.get(pattern.source);
  const pool = known ?? fc.sample(fc.stringMatching(pattern), { seed: poolSeed, numRuns: POOL });
  pools.set(pattern.source, pool);
  return fc.constantFrom(...pool.filter((text) => text.length <= maxLength));
}

const POOL = 50;
const pools = new Map<string, string[]>();
let poolSeed = 1;

/** Fixes the random strings; before the first call of {@link valid}. */
export function seedStrings(seed: number): void {
  poolSeed = seed;
}

const UNITS = {
  '': 1n,
  k: 1000n,
  Ki: 1024n,
  M: 1000n ** 2n,
  Mi: 1024n ** 2n,
  Gi: 1024n ** 3n,
  Ti: 1024n ** 4n,
};

function size(min: bigint, max: bigint): fc.Arbitrary<string> {
  const edges = fc.constantFrom(min, max, min + 1n, max - 1n).map(String);
  const inside = fc.constantFrom(...(Object.entries(UNITS) as [string, bigint][])).chain(([suffix, unit]) => {
    const [low, high] = [(min + unit - 1n) / unit, max / unit];
    if (low >= high) return fc.constant(String(min));
    return fc
      .tuple(fc.bigInt({ min: low, max: high - 1n }), fc.constantFrom('', '.5', '.25', '.000000001'))
      .map(([number, fraction]) => `${number}${fraction}${suffix}`);
  });
  return fc.oneof(edges, inside).filter((text) => /^\d{1,15}(\D|$)/.test(text));
}

function distinctBy(list: Json[], key: string | undefined): Json[] {
  if (key === undefined) return list;
  const seen = new Set<unknown>();
  return list.filter((each) => {
    const value = (each as Record<string, Json>)[key];
    return !seen.has(value) && seen.add(value);
  });
}
