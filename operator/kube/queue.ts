import type { QueueMetrics } from './metrics.ts';

/** First pause after a failure and the longest one, in milliseconds. */
const BACKOFF_MS = [5, 60_000] as const;

/**
 * Keys to work on, each at most once in the queue and never with two workers at once: a key added while it
 * is being worked on comes back when that is done.
 */
export class WorkQueue {
  readonly #name: string;
  readonly #metrics: QueueMetrics | undefined;
  /** Waiting keys in order, with the time they came. */
  readonly #waiting = new Map<string, number>();
  readonly #processing = new Set<string>();
  /** Added while being processed. */
  readonly #again = new Set<string>();
  readonly #timers = new Map<string, { readonly timer: NodeJS.Timeout; readonly at: number }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #closed = false;

  constructor(name: string, metrics?: QueueMetrics) {
    this.#name = name;
    this.#metrics = metrics;
  }

  /** Keys that wait for a worker now. */
  get depth(): number {
    return this.#waiting.size;
  }

  add(key: string): void {
    if (this.#closed) return;
    if (this.#processing.has(key)) {
      this.#again.add(key);
      return;
    }
    if (this.#waiting.has(key)) return;
    this.#waiting.set(key, performance.now());
    this.#serve();
  }

  /** Adds the key after a while; of several such wishes the earliest counts, and a run of the key ends them all. */
  addAfter(key: string, ms: number): void {
    if (this.#closed) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const at = performance.now() + ms;
    const known = this.#timers.get(key);
    if (known !== undefined && known.at <= at) return;
    clearTimeout(known?.timer);
    // Longer than setTimeout can count is as good as a day: the reconciler says again what it waits for.
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        this.add(key);
      },
      Math.min(ms, 86_400_000),
    );
    this.#timers.set(key, { timer, at });
  }

  /** Adds the key after a pause that doubles with each failure since the last {@link forget}; gives that pause. */
  addFailed(key: string): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const [first, longest] = BACKOFF_MS;
    const ms = Math.min(longest, first * 2 ** failures);
    this.addAfter(key, ms);
    return ms;
  }

  /** The key has succeeded: its next failure begins with the shortest pause. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** Waits for the next key and marks it as being processed; `undefined` when the queue is closed. */
  take(): Promise<string | undefined> {
    return new Promise((resolve) => {
      if (this.#closed) {
        resolve(undefined);
        return;
      }
      this.#takers.push(resolve);
      this.#serve();
    });
  }

  /** The worker that took the key is through with it. */
  done(key: string): void {
    this.#processing.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  /** Waiting keys are dropped, and workers get `undefined`. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #serve(): void {
    while (this.#takers.length > 0 && this.#waiting.size > 0) {
      const [key, since] = this.#waiting.entries().next().value!;
      this.#waiting.delete(key);
      this.#processing.add(key);
      clearTimeout(this.#timers.get(key)?.timer);
      this.#timers.delete(key);
      this.#metrics?.waited(this.#name, (performance.now() - since) / 1000);
      this.#takers.shift()!(key);
    }
    this.#metrics?.depth(this.#name, this.#waiting.size);
  }
}
