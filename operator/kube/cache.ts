import type { Logger } from 'pino';
import type { KubeClient } from './client.ts';
import { ApiError, isExpired } from './errors.ts';
import type { CacheMetrics } from './metrics.ts';
import { type KubeObject, keyOf } from './object.ts';
import type { Resource } from './resources.ts';
import { jittered, sleep } from './sleep.ts';
import { type IndexFunction, Store } from './store.ts';
import { BadLineError, SilentError, watchEvents } from './watch.ts';

export interface CacheOptions<T extends KubeObject> {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** What to keep of an object; `managedFields` are gone already. May change the object in place. */
  readonly transform?: (object: T) => T;
  readonly indexes?: Readonly<Record<string, IndexFunction<T>>>;
  readonly log: Logger;
  readonly metrics?: CacheMetrics | undefined;
  readonly timing?: Partial<CacheTiming>;
}

export interface CacheTiming {
  /** A watch without any data for this long is cut; bookmarks come about once a minute. */
  readonly silentAfterMs: number;
  /** The server ends a watch after a random time between these two, so that watches do not restart in step. */
  readonly timeoutSeconds: readonly [number, number];
  /** First and longest pause after a failure; doubled each time, with jitter. */
  readonly retryMs: readonly [number, number];
}

const TIMING: CacheTiming = { silentAfterMs: 90_000, timeoutSeconds: [240, 480], retryMs: [200, 10_000] };

/** Called for each change: (object, undefined) is new, (object, previous) changed, `deleted` its last state. */
export type ChangeHandler<T> = (object: T, previous: T | undefined, deleted: boolean) => void;

/**
 * A local copy of a resource by LIST and WATCH that cannot go blind: whatever ends a watch, another one
 * begins (410 and lines that cannot be read: after a new LIST), and silence counts as an end.
 *
 * Handlers should do no more than put keys into queues. Objects are shared: never change them.
 */
export class Cache<T extends KubeObject> {
  /** Resolves after the first complete LIST. */
  readonly synced: Promise<void>;

  readonly #client: KubeClient;
  readonly #resource: Resource<T>;
  readonly #options: CacheOptions<T>;
  readonly #timing: CacheTiming;
  readonly #log: Logger;
  readonly #store: Store<T>;
  readonly #handlers: ChangeHandler<T>[] = [];
  readonly #resolveSynced: () => void;
  /** Where the next watch begins; empty: a LIST is due. */
  #resourceVersion = '';

  constructor(client: KubeClient, resource: Resource<T>, options: CacheOptions<T>) {
    this.#client = client;
    this.#resource = resource;
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#log = options.log.child({ resource: resource.plural });
    this.#store = new Store(options.indexes);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.synced = promise;
    this.#resolveSynced = resolve;
  }

  get size(): number {
    return this.#store.size;
  }

  /** By `namespace/name`, or `name` of a cluster-scoped object. */
  get(key: string): T | undefined {
    return this.#store.get(key);
  }

  list(): IterableIterator<T> {
    return this.#store.values();
  }

  /** Objects for which the index function gives `value`. */
  by(index: string, value: string): readonly T[] {
    return this.#store.by(index, value);
  }

  onChange(handler: ChangeHandler<T>): void {
    this.#handlers.push(handler);
  }

  /**
   * Takes the answer of one's own write in, so that the next reconcile sees it although the watch has not
   * brought it yet. Ignored when the watch is already past it, and never brings a deleted object back.
   * Only for objects that match the cache's selectors.
   */
  remember(object: T): void {
    if (this.#resourceVersion === '' || !isNewer(object, this.#resourceVersion)) return;
    const known = this.#store.get(keyOf(object));
    if (known !== undefined && !isNewer(object, known.metadata.resourceVersion)) return;
    this.#put(this.#keep(structuredClone(object)));
  }

  /** Lists and watches until the signal; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const before = this.#resourceVersion;
      let reason: string;
      try {
        if (this.#resourceVersion === '') await this.#relist(signal);
        reason = await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        reason = this.#failed(error);
      }
      this.#options.metrics?.watchRestart(this.#resource.plural, reason);
      const progress = this.#resourceVersion !== '' && this.#resourceVersion !== before;
      if (reason === 'timeout' || reason === 'silent') failures = 0;
      else failures = progress ? 1 : failures + 1;
      // A watch that failed again and again from the same place: perhaps the place is the trouble.
      if (failures > 0 && failures % 5 === 0) this.#resourceVersion = '';
      const [first, longest] = this.#timing.retryMs;
      const pause = failures === 0 ? 0 : jittered(Math.min(longest, first * 2 ** (failures - 1)));
      await sleep(pause, signal);
    }
  }

  /** Says what ended a watch, and forgets the place where something may have been missed. */
  #failed(error: unknown): string {
    if (error instanceof SilentError) {
      this.#log.warn({ err: error }, 'watch fell silent; starting another');
      return 'silent';
    }
    if (isExpired(error)) {
      this.#resourceVersion = '';
      this.#log.info({ err: error }, 'watch is too far behind; listing anew');
      return 'expired';
    }
    if (error instanceof BadLineError) {
      this.#resourceVersion = '';
      this.#options.metrics?.badLine(this.#resource.plural);
      this.#log.error({ err: error }, 'watch sent a line that is no event; listing anew');
      return 'bad-line';
    }
    this.#log.warn({ err: error }, 'list or watch failed; trying again');
    return 'error';
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const pages = this.#client.pages(this.#resource, { namespace, labelSelector, fieldSelector, signal });
    const found = new Set<string>();
    let resourceVersion = '';
    for await (const page of pages) {
      resourceVersion = page.resourceVersion;
      for (const item of page.items) {
        const object = this.#keep(item);
        found.add(keyOf(object));
        const known = this.#store.get(keyOf(object));
        if (known === undefined || isNewer(object, known.metadata.resourceVersion)) this.#put(object);
      }
    }
    for (const [key, object] of Array.from(
      this.#store.keys(),
      (key) => [key, this.#store.get(key)!] as const,
    )) {
      if (!found.has(key) && !isNewer(object, resourceVersion)) this.#remove(key, object);
    }
    this.#resourceVersion = resourceVersion;
    this.#report();
    this.#resolveSynced();
  }

  /** One watch until its end; what it throws says why it ended early. */
  async #watch(signal: AbortSignal): Promise<string> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const [low, high] = this.#timing.timeoutSeconds;
    const timeoutSeconds = Math.round(low + Math.random() * (high - low));
    // A signal of its own: listeners on the long-lived one must not pile up watch after watch.
    const cut = new AbortController();
    const stop = () => cut.abort();
    signal.addEventListener('abort', stop);
    const started = performance.now();
    try {
      const body = await this.#client.watch(this.#resource, {
        namespace,
        labelSelector,
        fieldSelector,
        resourceVersion: this.#resourceVersion,
        timeoutSeconds,
        signal: cut.signal,
      });
      for await (const event of watchEvents<T>(body, this.#timing.silentAfterMs)) {
        if (event.type === 'ERROR') {
          throw new ApiError(event.object.code ?? 500, event.object, {
            method: 'WATCH',
            path: this.#resource.plural,
          });
        }
        this.#take(event.type, event.object);
      }
    } finally {
      signal.removeEventListener('abort', stop);
      cut.abort();
    }
    // Whoever closes a fresh watch in good order (a proxy, a server that shuts down) must not be asked in a tight loop.
    return performance.now() - started < 1000 ? 'closed' : 'timeout';
  }

  #take(type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK', object: T): void {
    const resourceVersion = object.metadata.resourceVersion;
    if (type !== 'BOOKMARK') {
      const key = keyOf(object);
      const known = this.#store.get(key);
      const outdated = known !== undefined && isNewer(known, resourceVersion);
      if (type === 'DELETED') {
        if (!outdated) this.#remove(key, this.#keep(object));
      } else if (known === undefined || isNewer(object, known.metadata.resourceVersion)) {
        this.#put(this.#keep(object));
      }
      this.#report();
    }
    this.#resourceVersion = resourceVersion;
  }

  #keep(object: T): T {
    // Freshly parsed, nobody else has it yet.
    delete (object.metadata as { managedFields?: unknown }).managedFields;
    return this.#options.transform?.(object) ?? object;
  }

  #put(object: T): void {
    this.#tell(object, this.#store.set(object), false);
  }

  #remove(key: string, last: T): void {
    const previous = this.#store.delete(key);
    if (previous !== undefined) this.#tell(last, previous, true);
  }

  #tell(object: T, previous: T | undefined, deleted: boolean): void {
    for (const handler of this.#handlers) {
      try {
        handler(object, previous, deleted);
      } catch (error) {
        this.#log.error({ err: error, object: keyOf(object) }, 'a change handler threw');
      }
    }
  }

  #report(): void {
    this.#options.metrics?.size(this.#resource.plural, this.#store.size);
  }
}

/** Resource versions are decimal numbers that grow (KEP-5504); of one cluster, all can be compared. */
function isNewer(object: KubeObject, resourceVersion: string): boolean {
  return Number(object.metadata.resourceVersion) > Number(resourceVersion);
}
