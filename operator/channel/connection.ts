import type { Duplex } from 'node:stream';
import {
  CHANNEL_LINE_LIMIT,
  type DownMessage,
  HEARTBEAT_DEADLINE,
  type UpMessage,
  upMessage,
} from '../../crds/channel.ts';
import type { PodIdentity } from './identity.ts';
import { LineReader } from './line-reader.ts';
import { TokenBucket } from './token-bucket.ts';

/** A launcher sends a line when something changes and every 10 s: this is far more than it ever has to say. */
const LINES_PER_SECOND = 20;
const LINES_BURST = 100;
/** A launcher that does not read what we send is cut off before it fills our memory. */
const UNSENT_LIMIT = 4 * CHANNEL_LINE_LIMIT;

export interface ConnectionHandlers {
  /** A checked message came. */
  readonly message: (message: UpMessage) => void;
  /** The connection is over; called once. */
  readonly closed: (reason: string) => void;
}

/** One launcher's socket after the upgrade: checked messages up, commands down, dead after silence. */
export class Connection {
  readonly identity: PodIdentity;
  readonly #socket: Duplex;
  readonly #handlers: ConnectionHandlers;
  readonly #lines = new LineReader(CHANNEL_LINE_LIMIT);
  readonly #rate = new TokenBucket(LINES_PER_SECOND, LINES_BURST);
  readonly #silence: NodeJS.Timeout;
  #closed = false;

  constructor(identity: PodIdentity, socket: Duplex, handlers: ConnectionHandlers) {
    this.identity = identity;
    this.#socket = socket;
    this.#handlers = handlers;
    this.#silence = setTimeout(
      () => this.close(`silent for ${HEARTBEAT_DEADLINE / 1000} s`),
      HEARTBEAT_DEADLINE,
    );
    socket.on('data', (piece: Buffer) => this.#read(piece));
    socket.on('error', (error) => this.close(error.message));
    socket.on('end', () => this.close('closed by the launcher'));
    socket.on('close', () => this.close('closed'));
  }

  /** False when the connection is over or the launcher does not read. */
  send(message: DownMessage): boolean {
    if (this.#closed) return false;
    this.#socket.write(`${JSON.stringify(message)}\n`);
    if (this.#socket.writableLength > UNSENT_LIMIT) this.close('the launcher does not read');
    return !this.#closed;
  }

  /** Sends what is still to be said, for instance that the launcher is disowned, and closes. */
  end(message: DownMessage, reason: string): void {
    if (this.#closed) return;
    this.#socket.end(`${JSON.stringify(message)}\n`);
    this.#finish(reason);
    // It was told; whether it hangs up or not.
    setTimeout(() => this.#socket.destroy(), 5_000).unref();
  }

  close(reason: string): void {
    this.#socket.destroy();
    this.#finish(reason);
  }

  #finish(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#silence);
    this.#handlers.closed(reason);
  }

  #read(piece: Buffer): void {
    if (this.#closed) return;
    this.#silence.refresh();
    let waitMs = 0;
    try {
      for (const line of this.#lines.push(piece)) {
        waitMs = Math.max(waitMs, this.#rate.take());
        const message = this.#parse(line);
        if (this.#closed || message === undefined) return;
        this.#handlers.message(message);
      }
    } catch (error) {
      this.close((error as Error).message);
      return;
    }
    if (waitMs > 0) {
      // Too fast: leave the rest in the launcher's own socket buffer for a moment.
      this.#socket.pause();
      setTimeout(() => this.#socket.resume(), waitMs);
    }
  }

  #parse(line: string): UpMessage | undefined {
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch {
      this.close('a line is not JSON');
      return undefined;
    }
    const { success, data, error } = upMessage.safeParse(json);
    if (success) return data;
    const issue = error.issues[0];
    this.close(`a message is not as agreed: ${issue?.path.join('.')}: ${issue?.message}`);
    return undefined;
  }
}
