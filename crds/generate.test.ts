import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generatedFiles } from './generate.ts';
import { KINDS } from './kinds.ts';
import { objectSchema, type StructuralSchema } from './to-crd.ts';

/** Every schema of a kind with its path. */
function* schemas(path: string, schema: StructuralSchema): Generator<[string, StructuralSchema]> {
  yield [path, schema];
  if (schema.items) yield* schemas(`${path}[]`, schema.items);
  if (schema.additionalProperties) yield* schemas(`${path}.*`, schema.additionalProperties);
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    if (name !== 'metadata') yield* schemas(`${path}.${name}`, member);
  }
}
const all = KINDS.flatMap((kind) => [...schemas(kind.kind, objectSchema(kind))]);

it.each([...generatedFiles()])('%s is what npm run generate makes', async (path, content) => {
  expect(await readFile(join(import.meta.dirname, '..', path), 'utf8')).toBe(content);
});

describe('every schema', () => {
  it('has something to check', () => {
    expect(all.length).toBeGreaterThan(300);
  });

  it('of a field has a description, a sentence', () => {
    const fields = all.filter(([path]) => !path.endsWith(']') && !path.endsWith('*'));
    expect(
      fields.filter(([, { description }]) => !/^\S.*\.$/s.test(description ?? '')).map(([path]) => path),
    ).toEqual(
      // Kubernetes' own texts.
      KINDS.flatMap(({ kind }) => [`${kind}.apiVersion`, `${kind}.kind`]),
    );
  });

  it('is bounded, so that the API server can tell the cost of the rules', () => {
    const unbounded = all.filter(
      ([path, schema]) =>
        !/\.(apiVersion|kind)$/.test(path) &&
        {
          array: schema.maxItems === undefined,
          string: schema.maxLength === undefined && schema.enum === undefined && schema.format === undefined,
          object: schema.additionalProperties !== undefined && schema.maxProperties === undefined,
          integer: path.includes('.spec.') && (schema.minimum === undefined || schema.maximum === undefined),
          boolean: false,
        }[schema.type],
    );
    expect(unbounded.map(([path]) => path)).toEqual([]);
  });

  it('of a list says how it merges', () => {
    const lists = all.filter(([, schema]) => schema.type === 'array');
    expect(lists.filter(([, schema]) => !schema['x-kubernetes-list-type']).map(([path]) => path)).toEqual([]);
  });

  it('has no default: a default would be written into the spec', () => {
    expect(JSON.stringify(all)).not.toContain('"default"');
  });

  it('has rules whose messages are one line and say something', () => {
    for (const [path, schema] of all) {
      for (const { message } of schema['x-kubernetes-validations'] ?? []) {
        expect(message, path).toMatch(/^[^\n]{15,250}$/);
      }
    }
  });
});
