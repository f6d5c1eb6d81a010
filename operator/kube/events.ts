import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { KubeClient } from './client.ts';
import { isAlreadyExists, isNotFound, orNotFound } from './errors.ts';
import { events } from './resources.ts';
import { sleep } from './sleep.ts';

/** What an event is about. */
export interface Regarding {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly namespace?: string; readonly name: string; readonly uid: string };
}

export type EventType = 'Normal' | 'Warning';

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** For instance `vmstead-operator`. */
  readonly component: string;
  /** This process, for instance its pod's name. */
  readonly instance: string;
  readonly log: Logger;
  /** Milliseconds between two writes of the same series. */
  readonly intervalMs?: number;
  readonly now?: () => Date;
}

/** Series remembered, and so the most that can wait to be written; the oldest is forgotten first. */
const SERIES_LIMIT = 2048;
/** A sentence longer than this is cut; the API server refuses events above 1024 characters. */
const MESSAGE_LIMIT = 1000;

interface Series {
  readonly regarding: Regarding;
  readonly type: EventType;
  readonly reason: string;
  readonly name: string;
  message: string;
  /** Times recorded and not written yet. */
  pending: number;
  /** Times that the object in the API says. */
  count: number;
  /** Whether this process has written it; else it may exist from an earlier process. */
  written: boolean;
  writtenAt: number;
  firstAt: string;
  lastAt: string;
}

/**
 * Tells people what happened to an object. The same reason on the same object is one Event with a count and
 * the last message, under a name derived from both, so that operators after one another go on counting it.
 * Recording never waits and never fails: events are for people, no logic may depend on them.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #series = new Map<string, Series>();
  #wake: () => void = () => {};

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  record(regarding: Regarding, type: EventType, reason: string, message: string): void {
    const key = `${regarding.metadata.uid}/${type}/${reason}`;
    const now = (this.#options.now?.() ?? new Date()).toISOString();
    const known = this.#series.get(key);
    const series: Series = known ?? {
      regarding,
      type,
      reason,
      name: eventName(regarding, key),
      message,
      pending: 0,
      count: 0,
      written: false,
      writtenAt: Number.NEGATIVE_INFINITY,
      firstAt: now,
      lastAt: now,
    };
    series.pending++;
    series.lastAt = now;
    series.message = message.length > MESSAGE_LIMIT ? `${message.slice(0, MESSAGE_LIMIT - 1)}…` : message;
    // Last in the map is most recent.
    this.#series.delete(key);
    this.#series.set(key, series);
    if (this.#series.size > SERIES_LIMIT) this.#series.delete(this.#series.keys().next().value!);
    this.#wake();
  }

  /** Writes what is recorded until the signal, then what is left, if the API server takes it within 2 s. */
  async run(signal: AbortSignal): Promise<void> {
    const interval = this.#options.intervalMs ?? 10_000;
    while (!signal.aborted) {
      for (const series of this.#due(interval)) {
        if (signal.aborted) break;
        await this.#write(series, 10_000);
      }
      if (signal.aborted) break;
      const waiting = Array.from(this.#series.values()).filter((series) => series.pending > 0);
      const soonest = Math.min(...waiting.map((series) => series.writtenAt + interval - performance.now()));
      await this.#woken(soonest, signal);
    }
    const end = performance.now() + 2_000;
    for (const series of this.#due(0)) {
      const left = end - performance.now();
      if (left > 0) await this.#write(series, left);
    }
  }

  #due(interval: number): Series[] {
    const now = performance.now();
    return Array.from(this.#series.values()).filter((s) => s.pending > 0 && now - s.writtenAt >= interval);
  }

  /** Waits for the next record, or `ms` when something waits already. */
  async #woken(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await sleep(Math.min(Math.max(ms, 0), 3_600_000), AbortSignal.any([signal, woken.signal]));
    this.#wake = () => {};
  }

  async #write(series: Series, deadlineMs: number): Promise<void> {
    const times = series.pending;
    series.pending = 0;
    series.writtenAt = performance.now();
    try {
      if (!series.written) await this.#adoptOrCreate(series, times, deadlineMs);
      else await this.#count(series, times, deadlineMs);
    } catch (error) {
      // Not written again: an event that comes late tells a lie, and the next one of the series counts it in.
      series.written = false;
      const { kind, metadata } = series.regarding;
      this.#options.log.warn(
        {
          err: error,
          namespace: metadata.namespace,
          object: `${kind}/${metadata.name}`,
          reason: series.reason,
        },
        'an event could not be written',
      );
    }
  }

  async #adoptOrCreate(series: Series, times: number, deadlineMs: number): Promise<void> {
    const { client, component, instance } = this.#options;
    const { regarding } = series;
    const ref = { namespace: regarding.metadata.namespace ?? 'default', name: series.name };
    try {
      await client.create(
        events,
        {
          metadata: ref,
          involvedObject: {
            apiVersion: regarding.apiVersion,
            kind: regarding.kind,
            name: regarding.metadata.name,
            uid: regarding.metadata.uid,
            ...(regarding.metadata.namespace ? { namespace: regarding.metadata.namespace } : {}),
          },
          type: series.type,
          reason: series.reason,
          message: series.message,
          count: times,
          firstTimestamp: series.firstAt,
          lastTimestamp: series.lastAt,
          source: { component },
          reportingComponent: component,
          reportingInstance: instance,
        },
        { deadlineMs },
      );
      series.count = times;
      series.written = true;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const existing = await orNotFound(client.get(events, ref, { deadlineMs }));
      series.count = existing?.count ?? 0;
      await this.#count(series, times, deadlineMs);
    }
  }

  async #count(series: Series, times: number, deadlineMs: number): Promise<void> {
    const { namespace = 'default' } = series.regarding.metadata;
    const count = series.count + times;
    try {
      await this.#options.client.patch(
        events,
        { namespace, name: series.name },
        { count, message: series.message, lastTimestamp: series.lastAt },
        { deadlineMs },
      );
      series.count = count;
      series.written = true;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      // Events live an hour by default; this one begins anew.
      series.firstAt = series.lastAt;
      await this.#adoptOrCreate(series, times, deadlineMs);
    }
  }
}

/** As client-go: the object's name and something unique, here the same for each time. */
function eventName({ metadata }: Regarding, key: string): string {
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 16);
  return `${metadata.name.slice(0, 230)}.${hash}`;
}
