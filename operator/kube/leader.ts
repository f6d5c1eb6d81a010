import type { Logger } from 'pino';
import type { KubeClient } from './client.ts';
import { isAlreadyExists, isConflict, orNotFound } from './errors.ts';
import type { Draft, ObjectRef } from './object.ts';
import { type Lease, leases } from './resources.ts';
import { jittered, sleep } from './sleep.ts';
import { watchEvents } from './watch.ts';

/**
 * Milliseconds. Twice client-go's 15/10: on nodes that start twenty VMs at once an API server was seen to need more
 * than five seconds for a write, and a leader that gives up then makes the rush worse. A leader that stops in good
 * order releases its lease, so that only a crash waits for the whole duration.
 */
export interface LeaderTiming {
  /** Silence of the holder after which another may take the lease. */
  readonly durationMs: number;
  /** The holder gives up when it could not renew for this long: earlier than anybody may take over. */
  readonly renewDeadlineMs: number;
  /** Between two renewals when the last one succeeded. */
  readonly renewMs: number;
  /** Between two attempts when the last one failed. */
  readonly retryMs: number;
}

const TIMING: LeaderTiming = { durationMs: 30_000, renewDeadlineMs: 25_000, renewMs: 5_000, retryMs: 2_000 };

export interface ElectionOptions {
  readonly client: KubeClient;
  readonly lease: ObjectRef & { readonly namespace: string };
  /** Unique to this process: a restarted container must not take its predecessor's lease for its own. */
  readonly identity: string;
  readonly log: Logger;
  readonly timing?: Partial<LeaderTiming>;
  /** For the timestamps in the lease, which people read. */
  readonly now?: () => Date;
}

/** What the winner of an election has until it loses or releases it. */
export interface Leadership {
  /** Resolves with the reason when the lease is lost; from then on another may be leader, so the process must end. */
  readonly lost: Promise<string>;
  /** False as soon as another could have taken the lease, also when this process was stopped meanwhile and has not noticed. */
  holds(): boolean;
  /** Stops renewing and gives the lease away, so that another need not wait for it to run out. */
  release(): Promise<void>;
}

/**
 * Waits until the lease is ours. Time is what passed here since the holder last changed the lease, by a
 * monotonic clock; timestamps in the lease are for people, so wrong clocks do no harm. `undefined` when
 * the signal came first.
 */
export async function elect(options: ElectionOptions, signal: AbortSignal): Promise<Leadership | undefined> {
  const timing = { ...TIMING, ...options.timing };
  const candidate = new Candidate(options, timing);
  while (!signal.aborted) {
    try {
      const asked = performance.now();
      const lease = await candidate.attempt(signal);
      if (lease !== undefined) return new Holder(options, timing, lease, asked);
      await candidate.watch(signal);
    } catch (error) {
      if (signal.aborted) break;
      options.log.warn({ err: error }, 'leader election: the lease could not be read or taken; trying again');
      await sleep(jittered(timing.retryMs), signal);
    }
  }
  return undefined;
}

class Candidate {
  readonly #options: ElectionOptions;
  readonly #timing: LeaderTiming;
  /** The lease as it was seen last, and when it was seen so first. */
  #seen: { readonly text: string; readonly at: number; readonly resourceVersion: string } | undefined;

  constructor(options: ElectionOptions, timing: LeaderTiming) {
    this.#options = options;
    this.#timing = timing;
  }

  /** Takes the lease if nobody holds it; `undefined` if somebody does, or was quicker. */
  async attempt(signal: AbortSignal): Promise<Lease | undefined> {
    const { client, lease: ref, log } = this.#options;
    const call = { signal, deadlineMs: this.#timing.renewDeadlineMs };
    const lease = await orNotFound(client.get(leases, ref, call));
    try {
      if (lease === undefined) return await client.create(leases, claim(this.#options, this.#timing), call);
      this.#observe(lease);
      if (this.#remainingMs(lease) > 0) return undefined;
      log.info({ holder: lease.spec?.holderIdentity }, 'leader election: taking the lease');
      return await client.replace(leases, claim(this.#options, this.#timing, lease), call);
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error)) return undefined;
      throw error;
    }
  }

  /** Returns when the lease is free, gone, or has not changed for its duration. Costs no requests while the holder renews. */
  async watch(signal: AbortSignal): Promise<void> {
    const seen = this.#seen;
    if (seen === undefined) return;
    const { client, lease: ref } = this.#options;
    const cut = new AbortController();
    const stop = () => cut.abort();
    signal.addEventListener('abort', stop);
    let timer = setTimeout(stop, Math.max(0, seen.at + this.#timing.durationMs - performance.now()));
    try {
      const body = await client.watch(leases, {
        namespace: ref.namespace,
        fieldSelector: `metadata.name=${ref.name}`,
        resourceVersion: seen.resourceVersion,
        timeoutSeconds: 600,
        signal: cut.signal,
      });
      for await (const event of watchEvents<Lease>(body, this.#timing.durationMs * 2)) {
        if (event.type === 'DELETED' || event.type === 'ERROR') return;
        if (event.type === 'BOOKMARK') continue;
        this.#observe(event.object);
        if (!event.object.spec?.holderIdentity) return;
        clearTimeout(timer);
        timer = setTimeout(stop, this.#remainingMs(event.object));
      }
    } catch (error) {
      // Our own timer: the holder has been silent for long enough.
      if (!cut.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      cut.abort();
    }
  }

  #observe(lease: Lease): void {
    const text = JSON.stringify(lease.spec);
    const at = this.#seen?.text === text ? this.#seen.at : performance.now();
    this.#seen = { text, at, resourceVersion: lease.metadata.resourceVersion };
  }

  #remainingMs(lease: Lease): number {
    if (!lease.spec?.holderIdentity) return 0;
    const duration = (lease.spec.leaseDurationSeconds ?? 0) * 1000 || this.#timing.durationMs;
    return this.#seen!.at + duration - performance.now();
  }
}

class Holder implements Leadership {
  readonly lost: Promise<string>;
  readonly #options: ElectionOptions;
  readonly #timing: LeaderTiming;
  readonly #stop = new AbortController();
  readonly #renewing: Promise<void>;
  #lease: Lease;
  /** When the last renewal that succeeded was sent. */
  #renewedAt: number;
  #released = false;

  constructor(options: ElectionOptions, timing: LeaderTiming, lease: Lease, renewedAt: number) {
    this.#options = options;
    this.#timing = timing;
    this.#lease = lease;
    this.#renewedAt = renewedAt;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.lost = promise;
    options.log.info({ lease: options.lease.name, identity: options.identity }, 'leader election: we lead');
    this.#renewing = this.#renew().then((reason) => {
      if (reason !== undefined && !this.#released) resolve(reason);
    });
  }

  holds(): boolean {
    return !this.#released && performance.now() - this.#renewedAt < this.#timing.durationMs;
  }

  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    this.#stop.abort();
    await this.#renewing;
    const { client, lease: ref, log } = this.#options;
    try {
      const spec = {
        ...this.#lease.spec,
        holderIdentity: '',
        leaseDurationSeconds: 1,
        renewTime: timestamp(this.#options),
      };
      await client.replace(leases, { metadata: this.#lease.metadata, spec }, { deadlineMs: 2_000 });
      log.info({ lease: ref.name }, 'leader election: lease released');
    } catch (error) {
      log.warn({ err: error }, 'leader election: the lease could not be released; it runs out by itself');
    }
  }

  /** Renews until stopped; gives the reason when the lease is lost. */
  async #renew(): Promise<string | undefined> {
    const { signal } = this.#stop;
    await sleep(this.#timing.renewMs, signal);
    while (!signal.aborted) {
      const asked = performance.now();
      const left = this.#renewedAt + this.#timing.renewDeadlineMs - asked;
      if (left <= 0) return `the lease could not be renewed for ${this.#timing.renewDeadlineMs / 1000} s`;
      try {
        const spec = { ...this.#lease.spec, renewTime: timestamp(this.#options) };
        const call = { signal, deadlineMs: Math.min(left, 12_000) };
        this.#lease = await this.#options.client.replace(leases, { ...this.#lease, spec }, call);
        this.#renewedAt = asked;
        await sleep(this.#timing.renewMs, signal);
      } catch (error) {
        if (signal.aborted) break;
        if (isConflict(error)) {
          const reason = await this.#lookAgain();
          if (reason !== undefined) return reason;
        } else {
          this.#options.log.warn(
            { err: error },
            'leader election: the lease could not be renewed; trying again',
          );
          await sleep(Math.min(this.#timing.retryMs, Math.max(0, left)), signal);
        }
      }
    }
    return undefined;
  }

  /** After a conflict: somebody else may have the lease, or a renewal of ours whose answer was lost went through. */
  async #lookAgain(): Promise<string | undefined> {
    const { client, lease: ref, identity } = this.#options;
    try {
      const lease = await orNotFound(
        client.get(leases, ref, { signal: this.#stop.signal, deadlineMs: 2_000 }),
      );
      if (lease === undefined) return 'the lease was deleted';
      if (lease.spec?.holderIdentity !== identity)
        return `the lease was taken by ${lease.spec?.holderIdentity || 'nobody'}`;
      this.#lease = lease;
      return undefined;
    } catch (error) {
      this.#options.log.warn({ err: error }, 'leader election: the lease could not be read; trying again');
      await sleep(this.#timing.retryMs, this.#stop.signal);
      return undefined;
    }
  }
}

/** Kubernetes' MicroTime. */
function timestamp({ now = () => new Date() }: ElectionOptions): string {
  return now().toISOString().replace('Z', '000Z');
}

function claim(options: ElectionOptions, timing: LeaderTiming, previous?: Lease): Draft<Lease> {
  const { lease: ref, identity } = options;
  const now = timestamp(options);
  return {
    metadata: previous?.metadata ?? {
      name: ref.name,
      ...(ref.namespace ? { namespace: ref.namespace } : {}),
    },
    spec: {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(timing.durationMs / 1000),
      acquireTime: now,
      renewTime: now,
      leaseTransitions: (previous?.spec?.leaseTransitions ?? -1) + 1,
    },
  };
}
