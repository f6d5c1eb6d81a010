/** Ways to break an object at one place, or to bring it to the edge of what is right. */
import type { StructuralSchema } from '../../../crds/to-crd.ts';
import type { Site } from './sites.ts';
import type { Json } from './specs.ts';

/** A number as it is written on the wire: JSON has more spellings than JavaScript keeps. */
const RAW = '\u0000raw:';
const raw = (text: string): Json => `${RAW}${text}`;

/** The object as JSON text. */
export function wire(object: Json): string {
  return JSON.stringify(object).replaceAll(/"\\u0000raw:([^"]*)"/g, '$1');
}

export interface Mutation {
  readonly name: string;
  /** Whether it certainly makes the object wrong; an edge may be right or wrong, only both must agree. */
  readonly breaks: boolean;
  readonly apply: (site: Site, pick: <T>(list: readonly T[]) => T) => void;
}

const broken = (name: string, apply: Mutation['apply']): Mutation => ({ name, breaks: true, apply });
const edge = (name: string, apply: Mutation['apply']): Mutation => ({ name, breaks: false, apply });
const becomes =
  (...values: Json[]): Mutation['apply'] =>
  (site, pick) =>
    site.set(pick(values));

const ASTRAL = '🙂';
const STRINGS = [
  ...[
    '',
    ' ',
    '1e3',
    '1E3',
    '0.5Gi',
    '.5Gi',
    '5.Gi',
    '0',
    '00',
    '1',
    '-1Gi',
    '+1Gi',
    '10Gi\n',
    ' 10Gi',
    '1_0Gi',
  ],
  ...[
    '٣Gi',
    '10gi',
    '1Ei',
    '999999999999999Ti',
    '1.0000000001Gi',
    '0x10',
    'NaN',
    'Infinity',
    'null',
    'a\u0000b',
  ],
  ...[
    '\ud800',
    'a\udc00',
    '\ud83d',
    'a,b=c',
    '../x',
    '/..',
    '/a/../b',
    '/a//b',
    'a..b',
    '-a',
    'a-',
    'A',
    'ä',
    ASTRAL,
  ],
  ...['a\u2028b', 'line\nline', 'état', 'a'.repeat(63), 'a'.repeat(64), 'a'.repeat(253), 'a'.repeat(254)],
];

function strings(schema: StructuralSchema): Mutation[] {
  const list = [
    edge('an odd string', (site, pick) => site.set(pick(STRINGS))),
    broken('a number for a string', becomes(0, 1, 1024, 1.5)),
    broken('a list or an object for a string', becomes([], {}, ['a'], true)),
  ];
  if (schema.enum) {
    list.push(broken('a word that is none', becomes('', 'nonesuch', schema.enum[0]!.toLowerCase() + ASTRAL)));
    list.push(edge('a word in other letters', (site, pick) => site.set(pick(schema.enum!).toLowerCase())));
    return list;
  }
  const { maxLength = 0, minLength } = schema;
  list.push(
    broken('one character too long', (site, pick) =>
      site.set(pick(['a', ASTRAL, 'é']).repeat(maxLength + 1)),
    ),
    edge('as long as it may be', (site, pick) =>
      site.set(pick(['a', ASTRAL, '1', '\ud800']).repeat(maxLength)),
    ),
  );
  const rules = (schema['x-kubernetes-validations'] ?? []).map(({ rule }) => rule);
  if (rules.some((rule) => rule.startsWith('self.matches'))) {
    list.push(broken('against the pattern', becomes(' ', 'ä', '\n', ASTRAL)));
  }
  if (rules.some((rule) => rule.includes('quantity(self)'))) {
    list.push(broken('a size out of bounds', becomes('0', '1k', '99999999Ti')));
  }
  if (minLength) list.push(broken('too short', becomes('')));
  return list;
}

function integers(schema: StructuralSchema): Mutation[] {
  const { minimum = 0, maximum = 0 } = schema;
  return [
    broken(
      'below the minimum',
      becomes(minimum - 1, minimum - 2 ** 40, -(2 ** 53), -1e300, raw('-9223372036854775809')),
    ),
    broken(
      'above the maximum',
      becomes(
        maximum + 1,
        2 ** 53,
        1e300,
        raw('9223372036854775808'),
        raw('1e400'),
        raw(`1${'0'.repeat(400)}`),
      ),
    ),
    broken('a fraction', becomes(minimum + 0.5, raw('1.0000001'), 1e-300)),
    broken('a string for a number', becomes('1', '', String(minimum))),
    broken('a boolean for a number', becomes(true, false)),
    edge('at the bounds', becomes(minimum, maximum)),
    edge(
      'a whole number in another spelling',
      becomes(raw('1.0'), raw('1e0'), raw('10e-1'), raw('-0'), raw('-0.0'), raw('1.00e2')),
    ),
  ];
}

function booleans(): Mutation[] {
  return [broken('no boolean', becomes('true', 'false', 0, 1, '', {}, []))];
}

function lists(schema: StructuralSchema): Mutation[] {
  const { maxItems = 0, minItems } = schema;
  const key = schema['x-kubernetes-list-map-keys']?.[0];
  const grown = (site: Site, size: number): Json[] =>
    Array.from({ length: size }, (_, index) => {
      const item = structuredClone((site.value as Json[])[0]!);
      return key === undefined ? item : { ...(item as Record<string, Json>), [key]: `x${index}` };
    });
  return [
    broken('too many entries', (site) => site.set(grown(site, maxItems + 1))),
    edge('as many entries as there may be', (site) => site.set(grown(site, maxItems))),
    broken('a null in a list', (site) => site.set([...(site.value as Json[]), null])),
    broken('an object for a list', becomes({}, '', 0)),
    ...(minItems
      ? [broken('too few entries', (site) => site.set([]))]
      : [edge('an empty list', (site) => site.set([]))]),
    ...(key
      ? [
          broken('two entries with one key', (site) =>
            site.set([...(site.value as Json[]), structuredClone((site.value as Json[])[0]!)]),
          ),
        ]
      : []),
  ];
}

function maps(schema: StructuralSchema): Mutation[] {
  const { maxProperties = 0 } = schema;
  const entries = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`key${index}`, 'a']));
  return [
    broken('too many entries', (site) => site.set(entries(maxProperties + 1))),
    edge('as many entries as there may be', (site) => site.set(entries(maxProperties))),
    broken('a list for a map', becomes([], '', 0)),
    edge('an odd key', (site, pick) => {
      const key = pick([
        '__proto__',
        'constructor',
        '',
        'a b',
        '/a',
        'a/',
        'A.b/c',
        'a/b/c',
        'ä',
        ASTRAL,
        `${'p'.repeat(253)}/a`,
        'a'.repeat(64),
      ]);
      Object.defineProperty(site.value, key, { value: 'a', enumerable: true, configurable: true });
    }),
  ];
}

function objects(schema: StructuralSchema): Mutation[] {
  return [
    broken('a member that is not there', (site, pick) => {
      const key = pick(['bogus', '__proto__', 'constructor', 'toString', '', ASTRAL, 'Name', 'a.b']);
      Object.defineProperty(site.value, key, {
        value: pick<Json>([1, 'a', {}]),
        enumerable: true,
        configurable: true,
      });
    }),
    broken('a list or a word for an object', becomes([], '', 'x', 0, false)),
    ...(schema.required ?? []).map((member) =>
      broken(`without ${member}`, (site) => {
        delete (site.value as Record<string, Json>)[member];
      }),
    ),
  ];
}

/** What can be done to a place with this schema. */
export function mutationsOf(schema: StructuralSchema): Mutation[] {
  const own = {
    string: strings,
    integer: integers,
    boolean: booleans,
    array: lists,
    object: schema.additionalProperties ? maps : objects,
  }[schema.type](schema);
  return [...own, edge('null', (site) => site.set(null))];
}
