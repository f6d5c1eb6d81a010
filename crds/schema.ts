/**
 * What the kinds' zod schemas are written with: each helper yields a zod schema whose
 * JSON schema, CEL rules included, the API server reads the same way.
 *
 * Two traps decide how they look. The API server counts characters as code points, JavaScript as UTF-16
 * units. And a failed `pattern` prints a regular expression to the person who made the mistake, while a CEL
 * rule prints a sentence: so whatever a person can get wrong is a rule.
 */
import * as z from 'zod';

/** One CEL rule as it stands in `x-kubernetes-validations`. */
export interface CelRule {
  rule: string;
  message: string;
  fieldPath?: string;
}

const VALIDATIONS = 'x-kubernetes-validations';

function withRule<S extends z.ZodType>(schema: S, rule: CelRule): S {
  const meta = (schema.meta() ?? {}) as Record<string, unknown>;
  const rules = (meta[VALIDATIONS] as CelRule[] | undefined) ?? [];
  return schema.meta({ ...meta, [VALIDATIONS]: [...rules, rule] }) as S;
}

/** One rule in both languages: the API server checks it as CEL, zod as a function. A property test holds the two to each other. */
export interface Rule<S extends z.ZodType> {
  readonly cel: string;
  readonly message: string;
  readonly holds: (value: z.output<S>) => boolean;
  /** The member that the message is about, such as `.claim`; absent: the whole. */
  readonly at?: string;
}

/** Adds rules. */
export function rules<S extends z.ZodType>(schema: S, list: readonly Rule<S>[]): S {
  return list.reduce((done, { cel, message, holds, at }) => {
    const path = at === undefined ? {} : { path: at.slice(1).split('.') };
    // refine() makes a schema of its own, without what was said about the old one.
    const refined = done.refine(holds as (value: unknown) => boolean, { message, ...path });
    const kept = refined.meta(done.meta() ?? {}) as unknown as S;
    return withRule(kept, { rule: cel, message, ...(at === undefined ? {} : { fieldPath: at }) });
  }, schema);
}

/** Adds one rule about the whole. */
export function rule<S extends z.ZodType>(
  schema: S,
  cel: string,
  message: string,
  holds: (value: z.output<S>) => boolean,
): S {
  return rules(schema, [{ cel, message, holds }]);
}

/** Adds a rule on a change (`oldSelf`), which only the API server can check. */
export function transition<S extends z.ZodType>(schema: S, cel: string, message: string): S {
  return withRule(schema, { rule: cel, message });
}

/** Describes a schema for `kubectl explain`. */
export function described<S extends z.ZodType>(description: string, schema: S): S {
  return schema.meta({ ...(schema.meta() ?? {}), description }) as S;
}

const codePoints = (text: string): number => {
  let count = 0;
  for (const _ of text) count++;
  return count;
};

/** A string of at most `max` code points. */
export function text(max: number, min = 0) {
  return z
    .string()
    .refine((value) => codePoints(value) <= max && codePoints(value) >= min, {
      message: `must have ${min > 0 ? `${min} to ` : 'at most '}${max} characters`,
    })
    .meta({ maxLength: max, ...(min > 0 ? { minLength: min } : {}) });
}

/** A string that must match `pattern` (in the subset that RE2 and JavaScript read alike), with a sentence for when it does not. */
export function matching(pattern: RegExp, max: number, message: string) {
  return rule(text(max), `self.matches(${celString(pattern.source)})`, message, (value) =>
    pattern.test(value),
  );
}

/** A CEL string literal: raw where it can be, so that a pattern stays readable in the YAML. */
export function celString(value: string): string {
  return value.includes("'") || value.includes('\n') ? JSON.stringify(value) : `r'${value}'`;
}

/** An integer from `min` to `max`, both included. */
export function integer(min: number, max: number) {
  return z.int().min(min).max(max);
}

export function distinct(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length;
}

/** A list that server-side apply merges by `key`, as a map. */
export function listMap<S extends z.ZodType<Record<string, unknown>>>(item: S, key: string, max: number) {
  return z
    .array(item)
    .max(max)
    .refine((items) => distinct(items.map((each) => each[key])), {
      message: `two entries have the same ${key}`,
    })
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] });
}

/** A list that is replaced as a whole. */
export function atomicList<S extends z.ZodType>(item: S, max: number, min = 0) {
  const list = z.array(item).max(max);
  return (min > 0 ? list.min(min) : list).meta({ 'x-kubernetes-list-type': 'atomic' });
}

/** A map of strings (labels and the like). */
export function stringMap(maxEntries: number, maxValue: number) {
  return z
    .record(z.string(), text(maxValue))
    .refine((value) => Object.keys(value).length <= maxEntries, {
      message: `must have at most ${maxEntries} entries`,
    })
    .meta({ maxProperties: maxEntries });
}

/** Adds the rule that exactly one of the members is set: how a union is written without a conversion webhook. */
export function exactlyOne<S extends z.ZodType>(schema: S, members: readonly string[], message: string): S {
  const has = members.map((member) => `has(self.${member})`).join(', ');
  return rule(
    schema,
    `[${has}].exists_one(x, x)`,
    message,
    (value) =>
      members.filter((member) => (value as Record<string, unknown>)[member] !== undefined).length === 1,
  );
}
