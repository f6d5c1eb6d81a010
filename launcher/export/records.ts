/** The content of a disk as records (crds/export.ts): what is zero is left out, what is sent is hashed. */
import { createHash } from 'node:crypto';
import { GRAIN, RECORD, RECORD_HEADER, WINDOW } from '../../crds/export.ts';
import type { Extent } from './nbd-client.ts';

/** Reads that are under way at once: what lies behind one of them is ready when it is sent. */
const READ_AHEAD = 4;
/** Bytes of data between two checksums. */
const CHECK_EVERY = 64 * 1024 * 1024;
const ZEROES = Buffer.alloc(GRAIN);

/** A disk that is read. */
export interface Source {
  bytes: number;
  extents(from: number): AsyncIterable<Extent>;
  read(offset: number, length: number): Promise<Buffer>;
}

interface Piece {
  offset: number;
  length: number;
}

/** The pieces of a disk that may hold data, as long as a window at most and none across the end of one. */
async function* pieces({ bytes, extents }: Source, from: number): AsyncGenerator<Piece> {
  let done = from;
  for await (const { offset, length, data } of extents(from)) {
    if (!data) continue;
    const end = Math.min(bytes, Math.ceil((offset + length) / GRAIN) * GRAIN);
    let at = Math.max(done, Math.floor(offset / GRAIN) * GRAIN);
    while (at < end) {
      const until = Math.min(end, (Math.floor(at / WINDOW) + 1) * WINDOW);
      yield { offset: at, length: until - at };
      at = until;
    }
    done = Math.max(done, end);
  }
}

/** How much of a disk may hold data, in all and before `from`. */
export async function dataBytes(
  source: Source,
  from: number,
): Promise<{ dataBytes: number; dataBefore: number }> {
  let all = 0;
  let before = 0;
  for await (const { offset, length } of pieces(source, 0)) {
    all += length;
    if (offset < from) before += length;
  }
  return { dataBytes: all, dataBefore: before };
}

/** The records from `from` to the end of the disk. Rejects with what a read rejects with. */
export async function* records(
  source: Source,
  from: number,
  checkEvery = CHECK_EVERY,
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let unchecked = 0;
  const reading: (Piece & { content: Promise<Buffer> })[] = [];
  const todo = pieces(source, from);
  const more = async () => {
    const next = await todo.next();
    if (next.done) return;
    const content = source.read(next.value.offset, next.value.length);
    // Whoever comes to it sees the error; until then it is nobody's.
    content.catch(() => {});
    reading.push({ ...next.value, content });
  };
  for (let count = 0; count < READ_AHEAD; count++) await more();
  for (let piece = reading.shift(); piece !== undefined; piece = reading.shift()) {
    const content = await piece.content;
    await more();
    for (const run of runsOfData(content)) {
      const data = content.subarray(run.offset, run.offset + run.length);
      const head = recordHeader(RECORD.Data, piece.offset + run.offset, data.length);
      hash.update(head).update(data);
      yield head;
      yield data;
    }
    unchecked += piece.length;
    const end = piece.offset + piece.length;
    // A window may come in several pieces: only whole ones can be gone on behind.
    if (unchecked >= checkEvery && end % WINDOW === 0) {
      unchecked = 0;
      yield checked(RECORD.Check, end, hash.copy().digest());
    }
  }
  yield checked(RECORD.End, source.bytes, hash.digest());
}

function checked(kind: number, offset: number, digest: Buffer): Buffer {
  return Buffer.concat([recordHeader(kind, offset, digest.length), digest]);
}

export function recordHeader(kind: number, offset: number, length: number): Buffer {
  const header = Buffer.alloc(RECORD_HEADER);
  header.writeUInt8(kind, 0);
  header.writeBigUInt64BE(BigInt(offset), 1);
  header.writeBigUInt64BE(BigInt(length), 9);
  return header;
}

/** Neighbouring grains that are not all zero. */
function* runsOfData(content: Buffer): Generator<Piece> {
  let begin: number | undefined;
  for (let at = 0; at < content.length; at += GRAIN) {
    const grain = content.subarray(at, at + GRAIN);
    const zero = grain.equals(ZEROES.subarray(0, grain.length));
    if (zero && begin !== undefined) {
      yield { offset: begin, length: at - begin };
      begin = undefined;
    } else if (!zero) begin ??= at;
  }
  if (begin !== undefined) yield { offset: begin, length: content.length - begin };
}
