/** A disk from a web server, taken up again where the connection broke. */
import type { IncomingMessage } from 'node:http';
import { addAbortSignal } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MoverSource } from '../../crds/mover.ts';
import { BeginAgain, MoverFailure } from '../failure.ts';
import { AddressGuard, type Resolve } from './addresses.ts';
import { ifRange, readAnswer, sameContent, type Validators } from './answer.ts';
import { exchange, type Route } from './connection.ts';
import { authorities, proxyHeaders, secretHeaders } from './credentials.ts';
import { Pace } from './pace.ts';
import type { Source, SourceWatch } from './source.ts';

export type HttpJob = Extract<MoverSource, { type: 'http' }>;

/** Milliseconds and bytes; tests have less patience. */
export interface HttpPatience {
  headTimeout: number;
  /** Without a byte. */
  stallTimeout: number;
  /** A source that brings less than `leastBytes` in so much waiting is too slow. */
  rateWindow: number;
  leastBytes: number;
  /** Attempts that brought less than `goodBytes` each, in a row. */
  tries: number;
  goodBytes: number;
  firstDelay: number;
  longestDelay: number;
}

export const PATIENCE: HttpPatience = {
  headTimeout: 60_000,
  stallTimeout: 30_000,
  rateWindow: 120_000,
  leastBytes: 2 * 1024 * 1024,
  tries: 8,
  goodBytes: 1024 * 1024,
  firstDelay: 1000,
  longestDelay: 30_000,
};

const MOST_REDIRECTS = 10;

export interface HttpOptions {
  watch: SourceWatch;
  signal: AbortSignal;
  patience?: HttpPatience;
  resolve?: Resolve;
  /** In place of the usual one. */
  guard?: AddressGuard;
}

/** A URL without what may be secret in it. */
function shown(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`.slice(0, 256);
}

export class HttpSource implements Source {
  readonly mostRestarts = 3;
  private readonly job: HttpJob;
  private readonly url: URL;
  private readonly options: HttpOptions;
  private readonly patience: HttpPatience;
  private readonly route: Route;
  private readonly secrets: Record<string, string>;
  private validators: Validators = {};

  constructor(job: HttpJob, options: HttpOptions) {
    this.job = job;
    this.options = options;
    this.patience = options.patience ?? PATIENCE;
    this.url = parse(job.url);
    this.secrets = job.secretDirectory === undefined ? {} : secretHeaders(job.secretDirectory);
    const open = job.allowPrivateAddresses;
    this.route = {
      guard: options.guard ?? AddressGuard.forSource(open, job.internalNetworks ?? [], options.resolve),
      ...(job.proxy === undefined
        ? {}
        : {
            proxy: {
              url: parse(job.proxy),
              guard: AddressGuard.forProxy(open, options.resolve),
              headers: job.secretDirectory === undefined ? {} : proxyHeaders(job.secretDirectory),
            },
          }),
      ...(job.caDirectory === undefined ? {} : { authorities: authorities(job.caDirectory) }),
      headTimeout: this.patience.headTimeout,
      signal: options.signal,
    };
  }

  get about() {
    const { etag, lastModified } = this.validators;
    return {
      type: 'http' as const,
      url: shown(this.url),
      ...(etag === undefined || etag.length > 128 ? {} : { etag }),
      ...(lastModified === undefined || lastModified.length > 64 ? {} : { lastModified }),
    };
  }

  get total(): number | undefined {
    return this.validators.total;
  }

  get version(): string | undefined {
    const { etag, lastModified } = this.validators;
    if (etag === undefined && lastModified === undefined) return undefined;
    return JSON.stringify(this.validators);
  }

  async *read(from: number, version?: string): AsyncGenerator<Buffer, void> {
    const { watch, signal } = this.options;
    const { tries, goodBytes, firstDelay, longestDelay } = this.patience;
    if (version !== undefined) this.validators = JSON.parse(version) as Validators;
    const pace = new Pace(this.patience);
    let at = from;
    for (let attempt = 1, delay = firstDelay; ; attempt++) {
      const began = at;
      let failed: unknown;
      try {
        const response = await this.open(at);
        watch.waiting(undefined);
        addAbortSignal(signal, response);
        try {
          for await (const chunk of pace.chunks(response)) {
            yield chunk;
            at += chunk.length;
          }
        } finally {
          response.destroy();
        }
        const { total } = this.validators;
        if (total === undefined || at >= total) return;
        failed = new Error(`it ended after ${at} of ${total} bytes`);
      } catch (error) {
        if (error instanceof MoverFailure || error instanceof BeginAgain) throw error;
        failed = error;
      }
      signal.throwIfAborted();
      if (at - began >= goodBytes) {
        attempt = 0;
        delay = firstDelay;
      }
      const reason = failed instanceof Error ? failed.message : String(failed);
      if (attempt >= tries) {
        throw new MoverFailure(
          'SourceLost',
          `${shown(this.url)} was lost at byte ${at}, and again at each of ${tries} tries: ${reason}`,
          { retry: true, cause: failed },
        );
      }
      watch.waiting(`${this.url.host}: ${reason}; trying again at byte ${at}`);
      const asked = failed instanceof LaterError ? Math.min(failed.seconds * 1000, longestDelay) : 0;
      await sleep(Math.max(asked, delay * (0.75 + Math.random() / 4)), undefined, { signal });
      delay = Math.min(delay * 2, longestDelay);
      watch.reconnected();
    }
  }

  /** A whole small document of the same route: a list of checksums. */
  async document(address: string, mostBytes: number): Promise<string> {
    const url = parse(address);
    const { response } = await this.follow(url, {});
    const answer = readAnswer(response.statusCode ?? 0, response.headers);
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      if (answer.kind !== 'body')
        throw new MoverFailure('SourceRefused', `${shown(url)} answered ${response.statusCode}`, {
          retry: answer.kind === 'refused' && answer.retry,
        });
      for await (const chunk of new Pace(this.patience).chunks(response)) {
        length += chunk.length;
        if (length > mostBytes)
          throw new MoverFailure('SourceRefused', `${shown(url)} is too long for a list of checksums`);
        chunks.push(chunk);
      }
    } finally {
      response.destroy();
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  /** The body from `from` on. */
  private async open(from: number): Promise<IncomingMessage> {
    const condition = from === 0 ? undefined : ifRange(this.validators);
    const range: Record<string, string> =
      from === 0
        ? {}
        : { Range: `bytes=${from}-`, ...(condition === undefined ? {} : { 'If-Range': condition }) };
    const { response, url } = await this.follow(this.url, range);
    try {
      const answer = readAnswer(response.statusCode ?? 0, response.headers);
      if (answer.kind === 'tooShort') {
        throw new BeginAgain(`${shown(url)} has ${answer.total ?? 'fewer'} bytes now, fewer than ${from}`);
      }
      if (answer.kind !== 'body') throw refusal(url, response, answer);
      if (from === 0) {
        this.validators = answer.validators;
        return response;
      }
      const same = sameContent(this.validators, answer.validators);
      // A checksum tells in the end what the server does not tell now.
      if (same === false || (same === undefined && this.job.checksum === undefined)) {
        throw new BeginAgain(
          same === false
            ? `${shown(url)} has changed meanwhile`
            : `nothing tells whether ${shown(url)} is still the same: no ETag, no Last-Modified, no checksum`,
        );
      }
      if (answer.from > from) throw new BeginAgain(`${shown(url)} does not send what was asked for`);
      await skip(response, from - answer.from, this.patience);
      return response;
    } catch (error) {
      response.destroy();
      throw error;
    }
  }

  private async follow(
    start: URL,
    headers: Record<string, string>,
  ): Promise<{ response: IncomingMessage; url: URL }> {
    let url = start;
    for (let hop = 0; ; hop++) {
      // What is secret goes to the host that it is for, and no further.
      const own = url.origin === this.url.origin ? this.secrets : {};
      await this.checkBehindProxy(url);
      const response = await exchange(url, { ...own, ...headers }, this.route);
      const answer = readAnswer(response.statusCode ?? 0, response.headers);
      if (answer.kind !== 'redirect') return { response, url };
      response.destroy();
      if (hop >= MOST_REDIRECTS)
        throw new MoverFailure(
          'SourceRefused',
          `${shown(start)} leads on and on: ${MOST_REDIRECTS} redirects`,
        );
      const next = parse(answer.location, url);
      if (url.protocol === 'https:' && next.protocol === 'http:' && this.job.checksum === undefined) {
        throw new MoverFailure(
          'SourceRefused',
          `${shown(url)} redirects from https to ${shown(next)}; give a checksum, or that URL itself`,
        );
      }
      url = next;
    }
  }

  /** The proxy finds the addresses; names that mean an internal one here as well are not asked of it. */
  private async checkBehindProxy(url: URL): Promise<void> {
    if (this.route.proxy === undefined) return;
    try {
      await this.route.guard.allowed(url.hostname);
    } catch (error) {
      if (error instanceof MoverFailure) throw error;
    }
  }
}

/** The server said when to come back. */
class LaterError extends Error {
  readonly seconds: number;
  constructor(message: string, seconds: number) {
    super(message);
    this.seconds = seconds;
  }
}

function refusal(url: URL, response: IncomingMessage, answer: ReturnType<typeof readAnswer>): Error {
  const message = `${shown(url)} answered ${response.statusCode} ${response.statusMessage ?? ''}`.trim();
  if (answer.kind !== 'refused' || !answer.retry) return new MoverFailure('SourceRefused', message);
  return answer.afterSeconds === undefined
    ? new Error(message)
    : new LaterError(message, answer.afterSeconds);
}

function parse(text: string, base?: URL): URL {
  let url: URL;
  try {
    url = new URL(text, base);
  } catch {
    throw new MoverFailure('SourceRefused', `${text.slice(0, 128)} is no URL`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new MoverFailure('SourceRefused', `a source must be http or https, not ${url.protocol}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new MoverFailure('SourceRefused', 'a URL may not hold user and password; put them into a Secret');
  }
  return url;
}

/** Drops what a server that knows no ranges sends again. */
async function skip(response: IncomingMessage, bytes: number, patience: HttpPatience): Promise<void> {
  let left = bytes;
  if (left === 0) return;
  for await (const chunk of new Pace(patience).chunks(response, true)) {
    left -= chunk.length;
    if (left > 0) continue;
    if (left < 0) response.unshift(chunk.subarray(chunk.length + left));
    return;
  }
  throw new Error('it broke off before the byte that was asked for');
}
