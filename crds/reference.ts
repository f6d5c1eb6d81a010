/** The reference page of a kind, from the same schema as its CRD. */
import { API_VERSION } from './api.ts';
import type { Kind } from './kinds.ts';
import { objectSchema, type StructuralSchema } from './to-crd.ts';

/** `docs/reference/<singular>.md`: every field with its type, bounds, description and rules. */
export function toReference(kind: Kind): string {
  const { spec, status } = objectSchema(kind).properties ?? {};
  return [
    `# ${kind.kind}`,
    '',
    '<!-- Generated from crds/ by `npm run generate`; change it there. -->',
    '',
    `\`${API_VERSION}\`, \`kubectl get ${[kind.plural, ...kind.shortNames].join('` or `')}\``,
    '',
    kind.description,
    '',
    ...objectRules(kind),
    '## spec',
    '',
    ...table('spec', spec),
    '## status',
    '',
    'Written by the operator. Wiped by hand, it is observed again.',
    '',
    ...table('status', status),
    '## Columns of `kubectl get`',
    '',
    '| column | shows | from |',
    '|---|---|---|',
    ...kind.printerColumns.map(
      (column) =>
        `| ${column.name}${column.priority === 1 ? ' (`-o wide`)' : ''} | ${column.description} | \`${column.jsonPath}\` |`,
    ),
    '',
  ].join('\n');
}

function objectRules(kind: Kind): string[] {
  const rules = objectSchema(kind)['x-kubernetes-validations'] ?? [];
  return rules.flatMap((rule) => [`- ${sentence(rule.message)}`, '']);
}

function table(root: string, schema: StructuralSchema | undefined): string[] {
  if (!schema) return [];
  return [
    '| field | type | |',
    '|---|---|---|',
    ...(schema['x-kubernetes-validations'] ? [row(root, schema, false)] : []),
    ...rows(root, schema),
    '',
  ];
}

function rows(path: string, schema: StructuralSchema): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const field = `${path}.${name}`;
    const required = schema.required?.includes(name) ?? false;
    return [
      row(field, member, required),
      ...rows(member.type === 'array' ? `${field}[]` : field, inner(member)),
    ];
  });
}

/** The schema whose members are listed below a field: its own, or that of the items of a list. */
function inner(schema: StructuralSchema): StructuralSchema {
  return schema.items ?? schema;
}

function row(field: string, schema: StructuralSchema, required: boolean): string {
  const rules = [
    ...(schema['x-kubernetes-validations'] ?? []),
    ...(schema.items?.['x-kubernetes-validations'] ?? []),
  ].map((rule) => sentence(rule.message));
  const text = [
    required ? '**Required.**' : '',
    schema.description ?? '',
    ...(rules.length > 0 ? [`*Rules:* ${rules.join(' ')}`] : []),
  ].filter((part) => part !== '');
  return `| \`${field}\` | ${typeOf(schema)} | ${cell(text.join(' '))} |`;
}

function typeOf(schema: StructuralSchema): string {
  switch (schema.type) {
    case 'array':
      return `list of ${items(schema.items)}, ${bounds(schema.minItems, schema.maxItems, 'entries')}${
        schema['x-kubernetes-list-type'] === 'map'
          ? `, keyed by ${schema['x-kubernetes-list-map-keys']?.join(', ')}`
          : ''
      }`;
    case 'object':
      return schema.additionalProperties
        ? `map of strings, ${bounds(undefined, schema.maxProperties, 'entries')}`
        : 'object';
    case 'string':
      if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(', ');
      if (schema.format) return schema.format;
      return `string, ${bounds(schema.minLength, schema.maxLength, 'characters')}`;
    case 'integer':
      return schema.minimum === undefined && schema.maximum === undefined
        ? 'integer'
        : `integer, ${bounds(schema.minimum, schema.maximum, '')}`.trimEnd();
    case 'boolean':
      return 'boolean';
  }
}

function items(schema: StructuralSchema | undefined): string {
  if (schema === undefined || schema.type === 'object') return 'objects';
  return schema.enum ? schema.enum.map((value) => `\`${value}\``).join(', ') : `${schema.type}s`;
}

function bounds(min: number | undefined, max: number | undefined, unit: string): string {
  if (min === undefined) return `at most ${max} ${unit}`;
  if (max === undefined) return `at least ${min} ${unit}`;
  return `${min} to ${max} ${unit}`;
}

function sentence(message: string): string {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
