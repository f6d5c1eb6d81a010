/**
 * zod → CustomResourceDefinition. zod's own OpenAPI 3.0 is refused by the API server as it stands; this
 * makes it a structural schema and leaves out what only zod checks.
 * Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
 */
import * as z from 'zod';
import { GROUP, VERSION } from './api.ts';
import type { Kind } from './kinds.ts';
import type { CelRule } from './schema.ts';

/** The part of a structural schema that Vmstead's kinds use. */
export interface StructuralSchema {
  description?: string;
  type: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  format?: string;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  maxProperties?: number;
  items?: StructuralSchema;
  additionalProperties?: StructuralSchema;
  properties?: Record<string, StructuralSchema>;
  required?: string[];
  'x-kubernetes-list-type'?: 'atomic' | 'map' | 'set';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-validations'?: CelRule[];
}

/** Every keyword that may appear in a schema, in the order in which the YAML shows them. */
const KEYWORDS = [
  'description',
  'type',
  'format',
  'enum',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'maxProperties',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
  'items',
  'additionalProperties',
  'required',
  'properties',
] as const satisfies readonly (keyof StructuralSchema)[];

/** The texts that Kubernetes gives these members in its own kinds. */
const API_VERSION_TEXT =
  'APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources';
const KIND_TEXT =
  'Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds';

/**
 * The structural schema of a zod schema.
 *
 * @throws Error for a keyword or a type that a structural schema has no place for (unions, tuples, null)
 */
export function toStructuralSchema(schema: z.ZodType): StructuralSchema {
  return structural(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input' }), '');
}

function structural(json: Record<string, unknown>, path: string): StructuralSchema {
  const { additionalProperties, propertyNames: _, $schema: __, ...rest } = json;
  if (rest.type === 'integer') {
    // zod states the bounds of a JavaScript number where there are no others.
    if (rest.minimum === Number.MIN_SAFE_INTEGER) delete rest.minimum;
    if (rest.maximum === Number.MAX_SAFE_INTEGER) delete rest.maximum;
    rest.format = 'int64';
  }
  if (!['object', 'array', 'string', 'integer', 'boolean'].includes(rest.type as string)) {
    throw new Error(`${path || 'the root'}: type ${JSON.stringify(rest.type)} has no place in a CRD`);
  }
  // `false` is how zod says "strict"; the API server refuses unknown fields anyway, or warns and drops them.
  const map = typeof additionalProperties === 'object' && Object.keys(additionalProperties ?? {}).length > 0;
  const all: Record<string, unknown> = {
    ...rest,
    ...(map
      ? { additionalProperties: structural(additionalProperties as Record<string, unknown>, `${path}.*`) }
      : {}),
    ...(rest.items ? { items: structural(rest.items as Record<string, unknown>, `${path}[]`) } : {}),
    ...(rest.properties
      ? {
          properties: Object.fromEntries(
            Object.entries(rest.properties).map(([name, member]) => [
              name,
              structural(member, path === '' ? name : `${path}.${name}`),
            ]),
          ),
        }
      : {}),
  };
  const unknown = Object.keys(all).filter((keyword) => !(KEYWORDS as readonly string[]).includes(keyword));
  if (unknown.length > 0)
    throw new Error(`${path || 'the root'}: ${unknown.join(', ')} has no place in a CRD`);
  return Object.fromEntries(
    KEYWORDS.flatMap((keyword) => (all[keyword] === undefined ? [] : [[keyword, all[keyword]]])),
  ) as unknown as StructuralSchema;
}

/** The schema of a whole object, with apiVersion, kind and metadata as the API server wants them. */
export function objectSchema(kind: Kind): StructuralSchema {
  const { properties, ...rest } = toStructuralSchema(kind.schema);
  return {
    ...rest,
    description: kind.description,
    properties: {
      ...properties,
      apiVersion: { description: API_VERSION_TEXT, type: 'string' },
      kind: { description: KIND_TEXT, type: 'string' },
      // Rules may speak of the name; of the rest of metadata a CRD may say nothing.
      metadata: { type: 'object', properties: { name: { type: 'string' } } },
    },
    required: ['spec'],
  };
}

/** The CustomResourceDefinition of a kind. */
export function toCrd(kind: Kind) {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${kind.plural}.${GROUP}`,
      // Uninstalling Vmstead must not delete every VM with it.
      annotations: { 'helm.sh/resource-policy': 'keep' },
      labels: { 'app.kubernetes.io/name': 'vmstead', 'app.kubernetes.io/part-of': 'vmstead' },
    },
    spec: {
      group: GROUP,
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        shortNames: kind.shortNames,
        categories: kind.categories,
      },
      scope: 'Namespaced',
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: kind.printerColumns,
          schema: { openAPIV3Schema: objectSchema(kind) },
        },
      ],
    },
  };
}
