/** Walks a schema, and an object along its schema. */
import type { StructuralSchema } from '../../../crds/to-crd.ts';
import type { Json } from './specs.ts';

export interface SchemaSite {
  /** Members with dots, `[]` for the items of a list, `{}` for the values of a map. */
  readonly path: string;
  readonly schema: StructuralSchema;
}

export function* schemaSites(schema: StructuralSchema, path = ''): Generator<SchemaSite> {
  yield { path, schema };
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    yield* schemaSites(member, `${path}.${name}`);
  }
  if (schema.items) yield* schemaSites(schema.items, `${path}[]`);
  if (schema.additionalProperties) yield* schemaSites(schema.additionalProperties, `${path}{}`);
}

/** A place in an object: what is there, and how to put something else there. */
export interface Site extends SchemaSite {
  readonly value: Json;
  readonly set: (value: Json | undefined) => void;
}

export function* sitesOf(
  value: Json,
  schema: StructuralSchema,
  path = '',
  set: (value: Json | undefined) => void = () => {},
): Generator<Site> {
  yield { path, schema, value, set };
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      yield* sitesOf(item, schema.items!, `${path}[]`, (other) => {
        value[index] = other ?? null;
      });
    }
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    const inner = schema.additionalProperties ?? schema.properties?.[name];
    if (inner === undefined) continue;
    yield* sitesOf(member, inner, schema.additionalProperties ? `${path}{}` : `${path}.${name}`, (other) => {
      if (other === undefined) delete value[name];
      else value[name] = other;
    });
  }
}
