import type { Logger } from 'pino';
import { isConflict, isUnavailable } from './errors.ts';
import type { ControllerMetrics } from './metrics.ts';
import { WorkQueue } from './queue.ts';

/** Done, or done for now and to be looked at again after so many milliseconds. */
export type Outcome = { readonly after?: number | undefined } | undefined;

/** Gets a key, never an event: it observes all it needs itself, and may run at any time, any number of times. */
// biome-ignore lint/suspicious/noConfusingVoidType: an async function that just ends is a reconciler too
export type Reconciler = (key: string, context: { readonly signal: AbortSignal }) => Promise<Outcome | void>;

/** Trying again would give the same: recorded, and not tried again until something about the key changes. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

export interface ControllerOptions {
  /** For logs and metrics, for instance `virtual-machine`. */
  readonly name: string;
  readonly reconcile: Reconciler;
  /** Keys worked on at once. */
  readonly workers?: number;
  readonly log: Logger;
  readonly metrics?: ControllerMetrics | undefined;
}

/** Runs a reconciler over a queue of keys. */
export class Controller {
  readonly name: string;
  readonly #options: ControllerOptions;
  readonly #queue: WorkQueue;
  readonly #log: Logger;

  constructor(options: ControllerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#queue = new WorkQueue(options.name, options.metrics);
    this.#log = options.log.child({ controller: options.name });
  }

  enqueue(key: string): void {
    this.#queue.add(key);
  }

  enqueueAfter(key: string, ms: number): void {
    this.#queue.addAfter(key, ms);
  }

  /** Works until the signal, then waits for the runs under way. */
  async run(signal: AbortSignal): Promise<void> {
    const close = () => this.#queue.close();
    if (signal.aborted) close();
    signal.addEventListener('abort', close, { once: true });
    await Promise.all(Array.from({ length: this.#options.workers ?? 4 }, () => this.#work(signal)));
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (;;) {
      const key = await this.#queue.take();
      if (key === undefined) return;
      const started = performance.now();
      const result = await this.#once(key, signal);
      this.#queue.done(key);
      this.#options.metrics?.reconciled(this.name, result, (performance.now() - started) / 1000);
    }
  }

  async #once(key: string, signal: AbortSignal): Promise<'done' | 'after' | 'error' | 'terminal'> {
    try {
      const outcome = await this.#options.reconcile(key, { signal });
      this.#queue.forget(key);
      if (outcome?.after === undefined) return 'done';
      this.#queue.addAfter(key, outcome.after);
      return 'after';
    } catch (error) {
      if (error instanceof TerminalError) {
        this.#queue.forget(key);
        this.#log.error({ err: error, key }, 'reconcile failed for good; waiting for a change');
        return 'terminal';
      }
      const retryMs = this.#queue.addFailed(key);
      // A conflict means that the cache is a moment behind; it is no news.
      const level = isConflict(error) ? 'debug' : isUnavailable(error) ? 'warn' : 'error';
      if (!signal.aborted) this.#log[level]({ err: error, key, retryMs }, 'reconcile failed; trying again');
      return 'error';
    }
  }
}
