import type { IncomingMessage } from 'node:http';
import type { V1ObjectMeta } from '@kubernetes/client-node';
import { failpoint } from './failpoint.ts';
import type { Draft, KubeObject, ObjectRef, Wire } from './object.ts';
import { apiVersionOf, type Resource, type ResourceName } from './resources.ts';
import type { HttpRequest, Transport } from './transport.ts';

/** Objects of one LIST answer; more are asked for page by page. */
const PAGE = 500;

/** Options that every request takes. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whole time the request may take, retries included; 30 s when absent. */
  readonly deadlineMs?: number | undefined;
}

export interface WriteOptions extends CallOptions {
  readonly subresource?: string | undefined;
  /** Run admission and validation, store nothing. */
  readonly dryRun?: boolean | undefined;
  /** Who owns the fields written; the user agent's name when absent. */
  readonly fieldManager?: string | undefined;
  /** Refuse unknown and duplicate fields in place of dropping them. */
  readonly strict?: boolean | undefined;
}

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string;
  /** Take over fields that another manager owns; true when absent, as a controller should. */
  readonly force?: boolean | undefined;
}

export interface DeleteOptions extends CallOptions {
  /** Delete only this very object: a Conflict when the name belongs to another by now. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan' | undefined;
}

export interface ListOptions extends CallOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Of the whole list: a watch that begins here misses nothing. */
  readonly resourceVersion: string;
}

export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string;
  /** After this long the server ends the watch. */
  readonly timeoutSeconds: number;
}

/** The API server, by resource. Every write passes the failpoint `api:<verb>:<resource>`. */
export interface KubeClient {
  get<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, options?: CallOptions): Promise<T>;
  /** Page by page (limit 500), so that a long list neither fills the memory nor blocks other work. */
  pages<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): AsyncGenerator<Page<T>>;
  /** All pages at once: for lists known to be short. */
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Promise<readonly T[]>;
  create<T extends KubeObject>(resource: Resource<T>, object: Draft<T>, options?: WriteOptions): Promise<T>;
  /** PUT: fails with Conflict unless `metadata.resourceVersion` is the current one (when it is given). */
  replace<T extends KubeObject>(resource: Resource<T>, object: Draft<T>, options?: WriteOptions): Promise<T>;
  /** JSON merge patch; put `metadata.resourceVersion` or `uid` in it as a precondition. */
  patch<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    patch: object,
    options?: WriteOptions,
  ): Promise<T>;
  /** Server-side apply: the object says all that `fieldManager` wants, and nothing else. */
  apply<T extends KubeObject>(resource: Resource<T>, object: Applied<T>, options: ApplyOptions): Promise<T>;
  delete<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, options?: DeleteOptions): Promise<void>;
  /** The body of a watch, with bookmarks: one JSON document a line. For the cache; controllers use that. */
  watch<T extends KubeObject>(resource: Resource<T>, options: WatchOptions): Promise<IncomingMessage>;
}

/** The part of an object that a manager applies: any of its fields, as deep as it has an opinion. */
export type Applied<T extends KubeObject> = HasName & {
  readonly [Field in Exclude<keyof T, 'metadata'>]?: unknown;
};

interface HasName {
  readonly metadata: Wire<V1ObjectMeta>;
}

interface ListBody<T> {
  readonly items?: readonly T[] | null;
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
}

/** Path of a collection or (with a name) of an object, as the API server has it. */
export function pathOf(
  resource: ResourceName,
  ref: { readonly namespace?: string | undefined; readonly name?: string | undefined },
  subresource?: string,
): string {
  const root = resource.group === '' ? '/api' : `/apis/${resource.group}`;
  const inNamespace = resource.namespaced && ref.namespace;
  const parts = [root, resource.version];
  if (inNamespace) parts.push('namespaces', encodeURIComponent(inNamespace));
  parts.push(resource.plural);
  if (ref.name !== undefined) parts.push(encodeURIComponent(ref.name));
  if (subresource !== undefined) parts.push(subresource);
  return parts.join('/');
}

type Query = Record<string, string | number | boolean | undefined>;

function withQuery(path: string, query: Query): string {
  const pairs = Object.entries(query)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`);
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
}

function writeQuery(options: WriteOptions): Query {
  return {
    dryRun: options.dryRun ? 'All' : undefined,
    fieldManager: options.fieldManager,
    fieldValidation: options.strict ? 'Strict' : undefined,
  };
}

export interface ClientOptions {
  /** Asked before each write; throws when this process may not write (any more), for instance because it does not lead. */
  readonly mayWrite?: () => void;
}

/** A client over one transport. */
export function createClient(transport: Transport, { mayWrite }: ClientOptions = {}): KubeClient {
  const read = async (verb: string, resource: ResourceName, path: string, options: CallOptions) =>
    await transport.request({ method: 'GET', path, verb, resource: resource.plural, ...calling(options) });

  const write = async (
    verb: string,
    resource: ResourceName,
    request: Omit<HttpRequest, 'verb' | 'resource'>,
    options: WriteOptions,
  ) => {
    const label = options.subresource ? `${resource.plural}/${options.subresource}` : resource.plural;
    const point = `api:${verb}:${label}`;
    mayWrite?.();
    failpoint(point, 'before');
    const answer = await transport.request({ ...request, verb, resource: label, ...calling(options) });
    failpoint(point, 'after');
    return answer;
  };

  /** apiVersion and kind are the table's, so that callers need not repeat them. */
  const body = (resource: ResourceName, object: object) =>
    JSON.stringify({ apiVersion: apiVersionOf(resource), kind: resource.kind, ...object });

  const client: KubeClient = {
    async get<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, options: CallOptions = {}) {
      return (await read('get', resource, pathOf(resource, ref), options)) as T;
    },

    async *pages<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}) {
      let token: string | undefined;
      do {
        const path = withQuery(pathOf(resource, { namespace: options.namespace }), {
          limit: PAGE,
          continue: token,
          labelSelector: options.labelSelector,
          fieldSelector: options.fieldSelector,
        });
        const list = (await read('list', resource, path, options)) as ListBody<T>;
        yield { items: list.items ?? [], resourceVersion: list.metadata.resourceVersion ?? '' };
        token = list.metadata.continue;
      } while (token);
    },

    async list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}) {
      const all: T[] = [];
      for await (const page of client.pages(resource, options)) all.push(...page.items);
      return all;
    },

    async create<T extends KubeObject>(resource: Resource<T>, object: Draft<T>, options: WriteOptions = {}) {
      const { namespace, name } = object.metadata;
      // A subresource (eviction, token) belongs to the object named; anything else goes into the collection.
      const path = options.subresource
        ? pathOf(resource, { namespace, name: name ?? '' }, options.subresource)
        : pathOf(resource, { namespace });
      const request = {
        method: 'POST',
        path: withQuery(path, writeQuery(options)),
        body: body(resource, object),
      } as const;
      return (await write('create', resource, request, options)) as T;
    },

    async replace<T extends KubeObject>(resource: Resource<T>, object: Draft<T>, options: WriteOptions = {}) {
      const request = {
        method: 'PUT',
        path: withQuery(pathOf(resource, named(object), options.subresource), writeQuery(options)),
        body: body(resource, object),
      } as const;
      return (await write('update', resource, request, options)) as T;
    },

    async patch<T extends KubeObject>(
      resource: Resource<T>,
      ref: ObjectRef,
      patch: object,
      options: WriteOptions = {},
    ) {
      const request = {
        method: 'PATCH',
        path: withQuery(pathOf(resource, ref, options.subresource), writeQuery(options)),
        contentType: 'application/merge-patch+json',
        body: JSON.stringify(patch),
      } as const;
      return (await write('patch', resource, request, options)) as T;
    },

    async apply<T extends KubeObject>(resource: Resource<T>, object: Applied<T>, options: ApplyOptions) {
      const request = {
        method: 'PATCH',
        path: withQuery(pathOf(resource, named(object), options.subresource), {
          ...writeQuery(options),
          force: options.force ?? true,
        }),
        contentType: 'application/apply-patch+yaml',
        body: body(resource, object),
      } as const;
      return (await write('apply', resource, request, options)) as T;
    },

    async delete<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, options: DeleteOptions = {}) {
      const { uid, resourceVersion, gracePeriodSeconds, propagation } = options;
      const request = {
        method: 'DELETE',
        path: pathOf(resource, ref),
        body: JSON.stringify({
          apiVersion: 'v1',
          kind: 'DeleteOptions',
          gracePeriodSeconds,
          propagationPolicy: propagation,
          preconditions: uid || resourceVersion ? { uid, resourceVersion } : undefined,
        }),
      } as const;
      await write('delete', resource, request, options);
    },

    async watch<T extends KubeObject>(resource: Resource<T>, options: WatchOptions) {
      const path = withQuery(pathOf(resource, { namespace: options.namespace }), {
        watch: 1,
        allowWatchBookmarks: true,
        resourceVersion: options.resourceVersion,
        timeoutSeconds: options.timeoutSeconds,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
      });
      const request = { method: 'GET', path, verb: 'watch', resource: resource.plural } as const;
      return await transport.stream({ ...request, ...calling(options) });
    },
  };
  return client;
}

function calling({ signal, deadlineMs }: CallOptions) {
  return { signal, deadlineMs };
}

function named(object: HasName): ObjectRef {
  const { name, namespace } = object.metadata;
  if (!name) throw new Error('the object has no metadata.name');
  return { namespace, name };
}
