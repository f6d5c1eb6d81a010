/**
 * As much of NBD as reading an export of QEMU's takes: where there is data, and the data.
 * Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ByteQueue } from '../../crds/byte-queue.ts';

const OPTION_MAGIC = 0x49484156454f5054n;
const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
const REQUEST_MAGIC = 0x25609513;
const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
const OPTION = { go: 7, structuredReply: 8, setMetaContext: 10 } as const;
const OPTION_REPLY = { acknowledged: 1, info: 3, metaContext: 4 } as const;
const COMMAND = { read: 0, disconnect: 2, blockStatus: 7 } as const;
const CHUNK = { none: 0, data: 1, hole: 2, blockStatus: 5 } as const;
const ERROR_BIT = 0x8000;
const DONE = 1;
/** NBD_STATE_ZERO: reads as zeroes, allocated or not. */
const ZERO = 2;
const ALLOCATION = 'base:allocation';
/** Longest run that one question is about. */
const LONGEST_QUESTION = 1024 * 1024 * 1024;

/** A run of the disk. `data` false: it reads as zeroes. */
export interface Extent {
  offset: number;
  length: number;
  data: boolean;
}

/** QEMU answered that it cannot. */
export class NbdError extends Error {}

interface Waiting {
  /** Where a read begins, and what it fills. */
  offset: number;
  buffer: Buffer;
  extents: { length: number; flags: number }[];
  error: Error | undefined;
  resolve: (waiting: Waiting) => void;
  reject: (error: Error) => void;
}

export class NbdClient {
  /** Of the whole disk. */
  bytes = 0;
  private readonly socket: Socket;
  private readonly bytesIn: ByteQueue;
  private readonly waiting = new Map<bigint, Waiting>();
  private cookie = 0n;
  private lost: Error | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.bytesIn = new ByteQueue({ pause: () => socket.pause(), resume: () => socket.resume() });
    socket.on('data', (chunk: Buffer) => this.bytesIn.push(chunk));
    socket.on('close', () => this.bytesIn.end('the connection to QEMU was lost'));
  }

  static async connect(path: string, name: string): Promise<NbdClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    const client = new NbdClient(socket);
    socket.on('error', (error) => client.lose(error));
    await client.negotiate(name);
    client.follow().catch((error: Error) => client.lose(error));
    return client;
  }

  /** Bytes from `offset`; rejects with an NbdError where QEMU cannot read them. */
  async read(offset: number, length: number): Promise<Buffer> {
    return (await this.request(COMMAND.read, offset, length, Buffer.allocUnsafe(length))).buffer;
  }

  /** All runs of the disk from `from` on, in order. */
  async *extents(from: number): AsyncGenerator<Extent> {
    for (let offset = from; offset < this.bytes; ) {
      const length = Math.min(LONGEST_QUESTION, this.bytes - offset);
      const { extents } = await this.request(COMMAND.blockStatus, offset, length, Buffer.alloc(0));
      if (extents.length === 0) throw new Error('the NBD server does not say where data are');
      for (const extent of extents) {
        const inside = Math.min(extent.length, this.bytes - offset);
        if (inside > 0) yield { offset, length: inside, data: (extent.flags & ZERO) === 0 };
        offset += inside;
      }
    }
  }

  close(): void {
    this.socket.end(request(COMMAND.disconnect, 0n, 0, 0));
  }

  private async negotiate(name: string): Promise<void> {
    const greeting = await this.bytesIn.take(18);
    if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw new Error('this is no NBD server');
    const flags = Buffer.alloc(4);
    flags.writeUInt32BE(3);
    this.socket.write(flags);
    await this.option(OPTION.structuredReply, Buffer.alloc(0));
    const word = (text: string) => Buffer.concat([uint32(text.length), Buffer.from(text)]);
    const contexts = await this.option(
      OPTION.setMetaContext,
      Buffer.concat([word(name), uint32(1), word(ALLOCATION)]),
    );
    if (!contexts.some(({ type }) => type === OPTION_REPLY.metaContext)) {
      throw new Error('the NBD server does not tell holes from data');
    }
    const answers = await this.option(OPTION.go, Buffer.concat([word(name), Buffer.alloc(2)]));
    const info = answers.find(({ type, data }) => type === OPTION_REPLY.info && data.readUInt16BE(0) === 0);
    if (info === undefined) throw new Error('the NBD server does not tell the size of the disk');
    this.bytes = Number(info.data.readBigUInt64BE(2));
  }

  /** Asks for an option; rejects where the server refuses it. */
  private async option(option: number, data: Buffer): Promise<{ type: number; data: Buffer }[]> {
    const head = Buffer.alloc(16);
    head.writeBigUInt64BE(OPTION_MAGIC, 0);
    head.writeUInt32BE(option, 8);
    head.writeUInt32BE(data.length, 12);
    this.socket.write(Buffer.concat([head, data]));
    const answers: { type: number; data: Buffer }[] = [];
    for (;;) {
      const reply = await this.bytesIn.take(20);
      if (reply.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC) throw new Error('this is no NBD server');
      const type = reply.readUInt32BE(12);
      const length = reply.readUInt32BE(16);
      const content = length === 0 ? Buffer.alloc(0) : await this.bytesIn.take(length);
      if (type === OPTION_REPLY.acknowledged) return answers;
      if (type >= 2 ** 31) throw new Error(`the NBD server refused: ${content.toString()}`);
      answers.push({ type, data: content });
    }
  }

  private async request(type: number, offset: number, length: number, buffer: Buffer): Promise<Waiting> {
    if (this.lost !== undefined) throw this.lost;
    const cookie = ++this.cookie;
    return await new Promise((resolve, reject) => {
      this.waiting.set(cookie, { offset, buffer, extents: [], error: undefined, resolve, reject });
      this.socket.write(request(type, cookie, offset, length));
    });
  }

  private async follow(): Promise<never> {
    for (;;) {
      const head = await this.bytesIn.take(20);
      if (head.readUInt32BE(0) !== STRUCTURED_REPLY_MAGIC) throw new Error('the NBD server lost its thread');
      const cookie = head.readBigUInt64BE(8);
      const waiting = this.waiting.get(cookie);
      if (waiting === undefined) throw new Error('the NBD server answers what nobody asked');
      const length = head.readUInt32BE(16);
      const payload = length === 0 ? Buffer.alloc(0) : await this.bytesIn.take(length);
      understand(waiting, head.readUInt16BE(6), payload);
      if ((head.readUInt16BE(4) & DONE) === 0) continue;
      this.waiting.delete(cookie);
      if (waiting.error === undefined) waiting.resolve(waiting);
      else waiting.reject(waiting.error);
    }
  }

  private lose(error: Error): void {
    this.lost ??= error;
    for (const { reject } of this.waiting.values()) reject(this.lost);
    this.waiting.clear();
  }
}

function understand(waiting: Waiting, type: number, payload: Buffer): void {
  if (type === CHUNK.data) {
    payload.copy(waiting.buffer, Number(payload.readBigUInt64BE(0)) - waiting.offset, 8);
  } else if (type === CHUNK.hole) {
    const at = Number(payload.readBigUInt64BE(0)) - waiting.offset;
    waiting.buffer.fill(0, at, at + payload.readUInt32BE(8));
  } else if (type === CHUNK.blockStatus) {
    for (let at = 4; at + 8 <= payload.length; at += 8) {
      waiting.extents.push({ length: payload.readUInt32BE(at), flags: payload.readUInt32BE(at + 4) });
    }
  } else if ((type & ERROR_BIT) !== 0) {
    const text = payload.toString('utf8', 6, 6 + payload.readUInt16BE(4));
    waiting.error = new NbdError(text || `error ${payload.readUInt32BE(0)}`);
  } else if (type !== CHUNK.none) {
    waiting.error = new Error(`the NBD server sent a chunk of type ${type}`);
  }
}

function request(type: number, cookie: bigint, offset: number, length: number): Buffer {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(REQUEST_MAGIC, 0);
  head.writeUInt16BE(type, 6);
  head.writeBigUInt64BE(cookie, 8);
  head.writeBigUInt64BE(BigInt(offset), 16);
  head.writeUInt32BE(length, 24);
  return head;
}

function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}
