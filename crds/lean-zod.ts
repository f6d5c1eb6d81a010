/**
 * The part of zod that the schemas of pods are written with, in the place of zod where a program runs once for
 * each VM or disk: there zod itself takes 5.8 MiB (docs/decisions/0008-launcher-memory.md). `images/bundle.ts`
 * puts it there; everywhere else, and for types, zod is zod. `lean-zod.test.ts` holds the two to one another.
 *
 * What is not here is not there: a schema that asks for more fails when its program starts, and in that test.
 */

/** Where a value is in the document. */
type Path = readonly PropertyKey[];
type Read = (value: unknown, path: Path) => unknown;
type Rule<T> = (value: T) => string | undefined;
type Shape = Readonly<Record<string, Schema>>;

interface Issue {
  path: Path;
  message: string;
}

type Result = { success: true; data: unknown } | { success: false; error: Refusal; data?: undefined };

/** The first thing that is wrong. */
class Refusal extends Error {
  readonly issues: readonly [Issue];

  constructor(path: Path, message: string) {
    super(path.length === 0 ? message : `${path.join('.')}: ${message}`);
    this.issues = [{ path, message }];
  }
}

function unexpected(what: string, value: unknown, path: Path): never {
  const is = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
  throw new Refusal(path, `Invalid input: expected ${what}, received ${is}`);
}

class Schema {
  /** Returns the value as the schema has it. @throws Refusal */
  readonly read: Read;

  constructor(read: Read) {
    this.read = read;
  }

  optional(): Schema {
    return new Schema((value, path) => (value === undefined ? undefined : this.read(value, path)));
  }

  /** @throws Error that names the first place that is wrong */
  parse(value: unknown): unknown {
    return this.read(value, []);
  }

  safeParse(value: unknown): Result {
    try {
      return { success: true, data: this.read(value, []) };
    } catch (error) {
      if (error instanceof Refusal) return { success: false, error };
      throw error;
    }
  }
}

/** A schema of one type, and rules for its values. */
class Ruled<T> extends Schema {
  private readonly rules: readonly Rule<T>[];
  private readonly typed: (value: unknown, path: Path) => T;

  constructor(typed: (value: unknown, path: Path) => T, rules: readonly Rule<T>[] = []) {
    super((value, path) => {
      const of = typed(value, path);
      for (const rule of rules) {
        const message = rule(of);
        if (message !== undefined) throw new Refusal(path, message);
      }
      return of;
    });
    this.typed = typed;
    this.rules = rules;
  }

  protected with(rule: Rule<T>): this {
    const Same = this.constructor as new (typed: typeof this.typed, rules: readonly Rule<T>[]) => this;
    return new Same(this.typed, [...this.rules, rule]);
  }
}

class Sized extends Ruled<string | unknown[]> {
  min(least: number): this {
    return this.with(({ length }) => (length < least ? `Too small: expected at least ${least}` : undefined));
  }

  max(most: number): this {
    return this.with(({ length }) => (length > most ? `Too big: expected at most ${most}` : undefined));
  }

  length(exact: number): this {
    return this.min(exact).max(exact);
  }

  regex(pattern: RegExp): this {
    return this.with((text) => (pattern.test(String(text)) ? undefined : `must match ${pattern}`));
  }
}

class Numeric extends Ruled<number> {
  min(least: number): this {
    return this.with((value) => (value < least ? `Too small: expected at least ${least}` : undefined));
  }

  max(most: number): this {
    return this.with((value) => (value > most ? `Too big: expected at most ${most}` : undefined));
  }

  positive(): this {
    return this.with((value) => (value > 0 ? undefined : 'Too small: expected more than 0'));
  }
}

class OneOf extends Schema {
  readonly options: readonly string[];

  constructor(options: readonly string[]) {
    super((value, path) =>
      options.includes(value as string) ? value : unexpected(`one of ${options.join('|')}`, value, path),
    );
    this.options = options;
  }
}

class ObjectOf extends Schema {
  readonly shape: Shape;
  private readonly strict: boolean;

  constructor(shape: Shape, strict: boolean) {
    super((value, path) => {
      const given = isObject(value) ? value : unexpected('object', value, path);
      const read: Record<string, unknown> = {};
      for (const [key, schema] of Object.entries(shape)) {
        const member = schema.read(given[key], [...path, key]);
        if (key in given) read[key] = member;
      }
      const unknown = strict ? Object.keys(given).find((key) => !Object.hasOwn(shape, key)) : undefined;
      if (unknown !== undefined) throw new Refusal(path, `Unrecognized key: ${JSON.stringify(unknown)}`);
      return read;
    });
    this.shape = shape;
    this.strict = strict;
  }

  /** The same with some members, or all, left out at will. */
  partial(members?: Readonly<Record<string, true>>): ObjectOf {
    const shape = Object.entries(this.shape).map(([key, schema]) => [
      key,
      members === undefined || Object.hasOwn(members, key) ? schema.optional() : schema,
    ]);
    return new ObjectOf(Object.fromEntries(shape) as Shape, this.strict);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const string = () =>
  new Sized((value, path) => (typeof value === 'string' ? value : unexpected('string', value, path)));
export const boolean = () =>
  new Ruled((value, path) => (typeof value === 'boolean' ? value : unexpected('boolean', value, path)));
export const number = () =>
  new Numeric((value, path) => (Number.isFinite(value) ? Number(value) : unexpected('number', value, path)));
export const int = () =>
  new Numeric((value, path) =>
    Number.isSafeInteger(value) ? Number(value) : unexpected('integer', value, path),
  );
export const unknown = () => new Schema((value) => value);
export const literal = (wanted: string | number | boolean) =>
  new Schema((value, path) => (value === wanted ? value : unexpected(JSON.stringify(wanted), value, path)));
export const strictObject = (shape: Shape) => new ObjectOf(shape, true);
export const object = (shape: Shape) => new ObjectOf(shape, false);

export const array = (item: Schema) =>
  new Sized((value, path) =>
    Array.isArray(value)
      ? value.map((each, index) => item.read(each, [...path, index]))
      : unexpected('array', value, path),
  );

export const record = (key: Schema, member: Schema) =>
  new Schema((value, path) => {
    const given = isObject(value) ? value : unexpected('record', value, path);
    const read: Record<string, unknown> = {};
    for (const name of Object.keys(given)) {
      // Assigned, it would be no member.
      if (name === '__proto__') continue;
      key.read(name, [...path, name]);
      read[name] = member.read(given[name], [...path, name]);
    }
    return read;
  });

/** The first that takes the value. */
export const union = (schemas: readonly Schema[]) =>
  new Schema((value, path) => {
    for (const schema of schemas) {
      const result = schema.safeParse(value);
      if (result.success) return result.data;
    }
    throw new Refusal(path, 'Invalid input');
  });

/** The one whose member `name`, a literal, is the value's. */
export const discriminatedUnion = (name: string, schemas: readonly ObjectOf[]) =>
  new Schema((value, path) => {
    const given = isObject(value) ? value : unexpected('object', value, path);
    const schema = schemas.find(({ shape }) => shape[name]?.safeParse(given[name]).success);
    if (schema === undefined) throw new Refusal([...path, name], 'Invalid input: no such discriminator');
    return schema.read(value, path);
  });

const oneOf = (options: readonly string[]) => new OneOf(options);

export { oneOf as enum };
