/** Objects as people write them → objects as Vmstead takes them, by the API server's own rules. */
import type * as z from 'zod';
import { VmsteadError } from './errors.ts';
import { type StructuralSchema, toStructuralSchema } from './to-crd.ts';
import { type VirtualMachine, virtualMachine } from './virtual-machine.ts';

/**
 * Takes away the members that are null, as the API server does before it checks anything: `kernel:` with
 * nothing behind it in a YAML file is no kernel. A null in a list stays, and is refused.
 */
function withoutNulls(value: unknown, schema: StructuralSchema): unknown {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : value.map((item) => withoutNulls(item, items));
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) => {
      const inner = schema.additionalProperties ?? schema.properties?.[name];
      if (inner === undefined) return [[name, member]];
      return member === null ? [] : [[name, withoutNulls(member, inner)]];
    }),
  );
}

/** Making one takes some 10 ms. */
const structural = new WeakMap<z.ZodType, StructuralSchema>();

function structuralSchemaOf(schema: z.ZodType): StructuralSchema {
  const known = structural.get(schema) ?? toStructuralSchema(schema);
  structural.set(schema, known);
  return known;
}

interface Mistake {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/**
 * What zod says to an object, with the API server's reading of nulls.
 *
 * @param value as `JSON.parse` or a YAML parser gives it
 */
export function read<S extends z.ZodType>(
  schema: S,
  value: unknown,
): { readonly data?: z.output<S>; readonly mistakes: readonly Mistake[] } {
  const odd = protoKey(value);
  // zod looks away from this key; nothing of ours has it, and no label may.
  if (odd !== undefined) return { mistakes: [{ path: odd, message: 'there is no such field' }] };
  const { data, error } = schema.safeParse(withoutNulls(value, structuralSchemaOf(schema)));
  return error === undefined ? { data, mistakes: [] } : { mistakes: error.issues };
}

/** Path of a member `__proto__`, if there is one. */
function protoKey(value: unknown): string[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [name, member] of Object.entries(value)) {
    if (name === '__proto__') return [name];
    const below = protoKey(member);
    if (below !== undefined) return [name, ...below];
  }
  return undefined;
}

/**
 * A VirtualMachine from what a YAML file holds.
 *
 * @param where names the file in the message
 * @throws VmsteadError `InvalidVirtualMachine` with one line for each mistake
 */
export function readVirtualMachine(value: unknown, where: string): VirtualMachine {
  const { data, mistakes } = read(virtualMachine, value);
  if (data !== undefined) return data;
  const lines = mistakes.map(({ path, message }) => `  ${pathText(path)}: ${message}`);
  throw new VmsteadError(
    'InvalidVirtualMachine',
    `${where} is no VirtualMachine that the API server would take:\n${lines.join('\n')}`,
  );
}

function pathText(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'the object';
  return path
    .map((step, index) =>
      typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${String(step)}`,
    )
    .join('');
}
