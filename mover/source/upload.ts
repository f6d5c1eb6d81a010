/** A disk that somebody sends: PUT with ranges, on the pod's own 127.0.0.1, which only port-forward reaches. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { addAbortSignal } from 'node:stream';
import type { MoverResult, MoverSource } from '../../crds/mover.ts';
import { UPLOAD_HEADER, UPLOAD_PATH } from '../../crds/mover.ts';
import { BeginAgain } from '../failure.ts';
import type { Source, SourceWatch } from './source.ts';

type UploadJob = Extract<MoverSource, { type: 'upload' }>;

/** Milliseconds without a byte after which a sender is taken for gone; it may come back. */
const STALL = 60_000;
const NOTHING_YET = 'waiting for the upload';

interface Sender {
  request: IncomingMessage;
  response: ServerResponse;
}

export class UploadSource implements Source {
  readonly about = { type: 'upload' as const };
  /** Each is what a person wants. */
  readonly mostRestarts = Number.POSITIVE_INFINITY;
  private readonly watch: SourceWatch;
  private readonly signal: AbortSignal;
  private readonly server: Server;
  private identity: string | undefined;
  private size: number | undefined;
  private offset = 0;
  private sender: Sender | undefined;
  /** Wakes the reader. */
  private came = () => {};
  /** The sender began again from the first byte. */
  private begunAgain = false;
  private result: MoverResult | undefined;

  constructor(watch: SourceWatch, signal: AbortSignal) {
    this.watch = watch;
    this.signal = signal;
    this.server = createServer((request, response) => this.receive(request, response));
    // A disk takes as long as it takes.
    this.server.requestTimeout = 0;
    this.server.timeout = 0;
  }

  async listen({ port }: UploadJob): Promise<number> {
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    return (this.server.address() as AddressInfo).port;
  }

  get total(): number | undefined {
    return this.size;
  }

  get version(): string | undefined {
    return this.identity === undefined ? undefined : `${this.identity}/${this.size}`;
  }

  async *read(from: number, version?: string): AsyncGenerator<Buffer, void> {
    this.begunAgain = false;
    this.offset = from;
    if (version !== undefined) {
      const slash = version.lastIndexOf('/');
      this.identity = version.slice(0, slash);
      this.size = Number(version.slice(slash + 1));
    }
    while (this.size === undefined || this.offset < this.size) {
      const sender = await this.nextSender();
      this.watch.waiting(undefined);
      try {
        addAbortSignal(this.signal, sender.request);
        sender.request.setTimeout(STALL, () => sender.request.destroy());
        for await (const chunk of sender.request.iterator({ destroyOnReturn: false })) {
          if (this.sender !== sender) break;
          // Counted first: a sender that takes over meanwhile goes on behind it.
          this.offset += (chunk as Buffer).length;
          yield chunk as Buffer;
        }
      } catch (error) {
        this.signal.throwIfAborted();
        // The sender is gone, and may come again.
        if (this.sender === sender) this.watch.waiting(`the upload broke off: ${(error as Error).message}`);
      }
      if (this.begunAgain) throw new BeginAgain('the upload began again');
      if (this.sender !== sender) continue;
      if (this.offset !== this.size) {
        this.sender = undefined;
        this.answer(sender.response, 202);
        this.watch.reconnected();
      }
    }
  }

  /** Tells the sender how it went, and ends. */
  async finish(result: MoverResult): Promise<void> {
    this.result = result;
    const { sender } = this;
    if (sender !== undefined) {
      // What it still sends is not wanted; it must be read all the same, or the answer may be lost.
      sender.request.resume();
      this.answer(sender.response, result.result === 'Succeeded' ? 200 : 422);
      await Promise.race([once(sender.response, 'close'), delay(2000)]);
    }
    this.server.close();
    this.server.closeAllConnections();
  }

  private async nextSender(): Promise<Sender> {
    while (this.sender === undefined && !this.begunAgain) {
      this.watch.waiting(this.offset === 0 ? NOTHING_YET : `${NOTHING_YET} to go on at byte ${this.offset}`);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.came = resolve;
      const stop = () => reject(this.signal.reason);
      this.signal.addEventListener('abort', stop, { once: true });
      try {
        this.signal.throwIfAborted();
        await promise;
      } finally {
        this.signal.removeEventListener('abort', stop);
      }
    }
    if (this.begunAgain) throw new BeginAgain('the upload began again');
    return this.sender!;
  }

  private receive(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', () => {});
    request.on('error', () => {});
    if (request.url !== UPLOAD_PATH) this.refuse(response, 404, `only ${UPLOAD_PATH} is here`);
    else if (request.method === 'HEAD' || request.method === 'GET') this.answer(response, 200);
    else if (request.method === 'PUT') this.put(request, response);
    else this.refuse(response, 405, 'only HEAD, GET and PUT');
  }

  private put(request: IncomingMessage, response: ServerResponse): void {
    const range = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(request.headers['content-range'] ?? '');
    const identity = request.headers[UPLOAD_HEADER.identity];
    const [first, last, total] = (range?.slice(1) ?? []).map(Number);
    if (first === undefined || last === undefined || total === undefined || last >= total || first > last) {
      this.refuse(response, 400, 'needs Content-Range: bytes FIRST-LAST/TOTAL');
      return;
    }
    if (typeof identity !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(identity)) {
      this.refuse(response, 400, `needs ${UPLOAD_HEADER.identity}: what tells this file from others`);
      return;
    }
    if (this.result !== undefined) {
      this.answer(response, 409);
      return;
    }
    const known = this.identity === identity && this.size === total;
    if (first !== 0 && (!known || first !== this.offset)) {
      this.answer(response, 409);
      return;
    }
    const restarts = first === 0 && this.offset > 0;
    // A sender that comes again has lost the connection before we noticed.
    this.sender?.request.destroy();
    this.begunAgain ||= restarts;
    this.identity = identity;
    this.size = total;
    if (restarts) this.offset = 0;
    this.sender = { request, response };
    this.came();
  }

  private refuse(response: ServerResponse, status: number, message: string): void {
    response.writeHead(status, { 'Content-Type': 'text/plain', Connection: 'close' }).end(`${message}\n`);
  }

  private answer(response: ServerResponse, status: number): void {
    if (response.headersSent || response.destroyed) return;
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-store',
      [UPLOAD_HEADER.offset]: String(this.offset),
      ...(this.identity === undefined ? {} : { [UPLOAD_HEADER.identity]: this.identity }),
      ...(status === 200 && this.result === undefined ? {} : { Connection: 'close' }),
    });
    response.end(this.result === undefined ? undefined : JSON.stringify(this.result));
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
