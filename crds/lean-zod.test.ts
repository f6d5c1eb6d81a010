/** Every document that a launcher reads means the same to zod and to what stands in its place there. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import * as z from 'zod';

interface Reader {
  safeParse(value: unknown): { success: boolean; data?: unknown; error?: { issues: { path: unknown[] }[] } };
}
type Readers = Record<(typeof NAMES)[number], Reader>;

const NAMES = ['machineDescription', 'downMessage', 'upMessage', 'attachmentJob', 'layerTree'] as const;

async function readers(): Promise<Readers> {
  vi.resetModules();
  const { machineDescription } = await import('./machine-description.ts');
  const { downMessage, upMessage } = await import('./channel.ts');
  const { attachmentJob } = await import('./attachment.ts');
  const { layerTree } = await import('../launcher/disks/layers.ts');
  return { machineDescription, downMessage, upMessage, attachmentJob, layerTree };
}

let full: Readers;
let lean: Readers;

beforeAll(async () => {
  full = await readers();
  vi.doMock('zod', () => import('./lean-zod.ts'));
  lean = await readers();
  vi.doUnmock('zod');
  // The files of unit tests share their modules: none of the next ones is to meet these.
  vi.resetModules();
});

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** Documents that a schema takes. */
function taken(schema: JsonSchema): fc.Arbitrary<unknown> {
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return fc.oneof(...choices.map((each) => taken(each as JsonSchema)));
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'string':
      return schema.pattern === undefined
        ? fc.string({ unit: 'grapheme', maxLength: Math.min(schema.maxLength ?? 12, 12) })
        : fc.stringMatching(new RegExp(schema.pattern));
    case 'integer':
      return fc.oneof(fc.integer({ min: 1 }), fc.maxSafeNat().filter(Boolean));
    case 'number':
      return fc.double({ noNaN: true, min: 0, max: 1e6 });
    case 'boolean':
      return fc.boolean();
    case 'array':
      return fc.array(taken(schema.items as JsonSchema), { minLength: schema.minItems ?? 0, maxLength: 3 });
    case 'object': {
      if (schema.properties === undefined)
        return fc.dictionary(fc.string({ maxLength: 8 }), taken(schema.additionalProperties as JsonSchema), {
          maxKeys: 3,
        });
      const members = Object.entries(schema.properties).map(([key, member]) => [
        key,
        taken(member as JsonSchema),
      ]);
      return fc.record(Object.fromEntries(members) as Record<string, fc.Arbitrary<unknown>>, {
        requiredKeys: schema.required ?? [],
      });
    }
    default:
      return fc.jsonValue();
  }
}

/** What JSON may have where something else should be. */
const odd = fc.oneof(
  fc.constantFrom(
    null,
    '',
    0,
    -1,
    1.5,
    1e300,
    true,
    false,
    [],
    {},
    'x'.repeat(2000),
    '\u{1F600}',
    'raw',
    '1',
  ),
  fc.jsonValue({ maxDepth: 1 }),
);

type Change = { at: number; how: 'replace' | 'remove' | 'add'; value: unknown };

const change: fc.Arbitrary<Change> = fc.record({
  at: fc.nat(),
  how: fc.constantFrom('replace', 'remove', 'add'),
  value: odd,
});

/** The document with one place changed; what does not fit in that place is left. */
function changed(document: unknown, { at, how, value }: Change): unknown {
  const copy = structuredClone(document);
  const places: [holder: Record<string, unknown>, key: string][] = [];
  const look = (holder: unknown) => {
    if (typeof holder !== 'object' || holder === null) return;
    for (const [key, member] of Object.entries(holder)) {
      places.push([holder as Record<string, unknown>, key]);
      look(member);
    }
  };
  look(copy);
  const [holder, key] = places[at % Math.max(places.length, 1)] ?? [];
  if (holder === undefined || key === undefined) return value;
  if (how === 'replace') holder[key] = value;
  else if (how === 'remove' && Array.isArray(holder)) holder.splice(Number(key), 1);
  else if (how === 'remove') delete holder[key];
  else holder[Array.isArray(holder) ? holder.length : 'surplus'] = value;
  return copy;
}

describe.each(NAMES)('%s', (name) => {
  const agree = (document: unknown) => {
    const [ours, zods] = [lean[name].safeParse(document), full[name].safeParse(document)];
    expect(ours.success, JSON.stringify(zods.error?.issues)).toBe(zods.success);
    if (zods.success) expect(ours.data).toEqual(zods.data);
    return zods.success;
  };

  test('what is right is taken', () => {
    const right = taken(z.toJSONSchema(full[name] as unknown as z.ZodType));
    fc.assert(
      fc.property(right, (document) => {
        expect(agree(document), JSON.stringify(document)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test('and what is wrong in one place is not, in both', () => {
    const right = taken(z.toJSONSchema(full[name] as unknown as z.ZodType));
    const seen = { taken: 0, refused: 0 };
    fc.assert(
      fc.property(right, change, (document, edit) => {
        seen[agree(changed(document, edit)) ? 'taken' : 'refused'] += 1;
      }),
      { numRuns: 400 },
    );
    expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(10);
  });
});

test('a refusal names the place', () => {
  const broken = { type: 'machine', revision: 1, disks: [{ name: 'root' }] };
  const paths = [lean, full].map(({ downMessage }) => downMessage.safeParse(broken).error?.issues[0]?.path);
  expect(paths[0]).toEqual(['disks', 0, 'device']);
  expect(paths[0]).toEqual(paths[1]);
});
