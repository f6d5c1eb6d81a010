/** When things happen, as an outside observer sees them: watch events as they arrive, guest lines as the kubelet stamps them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeObject } from '../../operator/kube/object.ts';
import type { Transport } from '../../operator/kube/transport.ts';
import { type WatchEvent, watchEvents } from '../../operator/kube/watch.ts';

/** Longer than any wait here: the server would otherwise end a watch after some minutes. */
const WATCH_SECONDS = 7200;
const PATIENCE_MS = 300_000;

interface Waiter {
  name: string;
  holds: (event: WatchEvent<KubeObject>) => boolean;
  resolve: (at: number) => void;
}

/** A watch on one kind in one namespace. Times are milliseconds since the epoch. */
export class Timeline implements Disposable {
  readonly #stop = new AbortController();
  readonly #waiters = new Set<Waiter>();
  /** Rejects when the watch breaks: everything measured with it would be wrong. */
  readonly #broken: Promise<never>;

  private constructor(transport: Transport, path: string, resource: string, opened: () => void) {
    this.#broken = this.#follow(transport, path, resource, opened).catch((error: unknown) => {
      throw new Error(`the watch on ${resource} broke, and with it the measurement`, { cause: error });
    });
    this.#broken.catch(() => {});
  }

  /** @param path of the collection, such as `/api/v1/namespaces/bench/pods` */
  static async open(transport: Transport, path: string, resource: string): Promise<Timeline> {
    let opened = (): void => {};
    const open = new Promise<void>((resolve) => {
      opened = resolve;
    });
    const timeline = new Timeline(transport, path, resource, () => opened());
    await Promise.race([open, timeline.#broken]);
    return timeline;
  }

  /** The moment at which the first event of that object came that satisfies `holds`. Ask before it can happen. */
  async when<T extends KubeObject>(
    name: string,
    what: string,
    holds: (object: T, type: 'ADDED' | 'MODIFIED' | 'DELETED') => boolean,
  ): Promise<number> {
    const done = new AbortController();
    const seen = new Promise<number>((resolve) => {
      const waiter: Waiter = {
        name,
        holds: (event) =>
          event.type !== 'ERROR' &&
          event.type !== 'BOOKMARK' &&
          holds(event.object as unknown as T, event.type),
        resolve: (at) => {
          this.#waiters.delete(waiter);
          resolve(at);
        },
      };
      this.#waiters.add(waiter);
    });
    const late = sleep(PATIENCE_MS, undefined, { signal: done.signal }).then(() => {
      throw new Error(`${name}: ${what} has not happened after ${PATIENCE_MS / 1000} s`);
    });
    late.catch(() => {});
    try {
      return await Promise.race([seen, late, this.#broken]);
    } finally {
      done.abort();
    }
  }

  async #follow(transport: Transport, path: string, resource: string, opened: () => void): Promise<never> {
    const body = await transport.stream({
      method: 'GET',
      path: `${path}?watch=true&timeoutSeconds=${WATCH_SECONDS}`,
      verb: 'watch',
      resource,
      signal: this.#stop.signal,
    });
    opened();
    for await (const event of watchEvents<KubeObject>(body, WATCH_SECONDS * 1000)) {
      const at = Date.now();
      for (const waiter of [...this.#waiters]) {
        if (event.type === 'ERROR' || event.object.metadata.name !== waiter.name) continue;
        if (waiter.holds(event)) waiter.resolve(at);
      }
    }
    throw new Error(`the watch on ${resource} ended`);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}

/** The line with which the tiny guest says that its user space is up (images/guests/tiny). */
const GUEST_UP = /^(\S+) .*VMSTEAD-GUEST-UP /m;

/**
 * The kubelet's time of the guest's word that it is up. Ask when the container runs.
 *
 * @throws Error when the container ends, or says nothing for five minutes
 */
export async function guestUp(transport: Transport, namespace: string, pod: string): Promise<number> {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end) {
    try {
      const body = await transport.stream({
        method: 'GET',
        path: `/api/v1/namespaces/${namespace}/pods/${pod}/log?follow=true&timestamps=true`,
        verb: 'logs',
        resource: 'pods',
        signal: AbortSignal.timeout(Math.max(1, end - Date.now())),
      });
      body.setEncoding('utf8');
      let text = '';
      for await (const chunk of body) {
        text += chunk;
        const stamp = GUEST_UP.exec(text)?.[1];
        if (stamp !== undefined) return Date.parse(stamp);
      }
    } catch (error) {
      // Between "running" in the API and a log that can be read there may be a moment.
      if (Date.now() > end) throw error;
    }
    await sleep(100);
  }
  throw new Error(`the guest of ${pod} did not say that it is up`);
}
