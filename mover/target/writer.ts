/** Writes a stream into a file or onto a device: hashed on the way, holes for zeros, bounded in memory. */
import type { FileHandle } from 'node:fs/promises';
import { errno } from '../../launcher/errno.ts';
import { MoverFailure } from '../failure.ts';
import { type Algorithm, Digest } from './digest.ts';

/** One batch: what is hashed and written at once. */
const BATCH = 1024 * 1024;
const BATCHES = 6;
/** Zeros of this length at a multiple of it become a hole; storage works in such units at the least. */
const HOLE = 64 * 1024;
const ZEROS = Buffer.alloc(HOLE);
/** Bytes that may wait in the kernel's memory to be written to the storage. */
const DIRTY = 32 * 1024 * 1024;

export interface WriterOptions {
  /** Opened for reading and writing; holds nothing but zeros from `from` on when `blank`. */
  file: FileHandle;
  blank: boolean;
  algorithms: readonly Algorithm[];
  /** Bytes that are there already: they are read again, for the digests. */
  from: number;
  mostBytes: number;
  /** All up to here is on the storage, whatever happens now. */
  durable?: (bytes: number) => void;
}

export interface Written {
  bytes: number;
  digests: Map<Algorithm, string>;
}

interface Batch {
  index: number;
  data: Buffer;
}

export class Writer {
  private readonly options: WriterOptions;
  private readonly digest: Digest;
  private readonly free: Batch[] = [];
  private readonly busy = new Set<Promise<void>>();
  /** Where the batches begin that are being written. */
  private readonly storing = new Set<number>();
  private batch: Batch | undefined;
  private filled = 0;
  /** Where the batch begins. */
  private position = 0;
  private unsynced = 0;
  private sync: Promise<void> | undefined;
  private failure: unknown;

  constructor(options: WriterOptions) {
    this.options = options;
    const buffers = Array.from({ length: BATCHES }, () => new SharedArrayBuffer(BATCH));
    for (const [index, buffer] of buffers.entries()) this.free.push({ index, data: Buffer.from(buffer) });
    this.digest = new Digest(options.algorithms, buffers);
  }

  /** Bytes that were given, those of an earlier attempt included. */
  get bytes(): number {
    return this.position + this.filled;
  }

  /** Takes in what an earlier attempt has written. */
  async readAgain(seen: (bytes: number) => void): Promise<void> {
    const { file, from } = this.options;
    while (this.position < from) {
      const batch = await this.nextBatch();
      const length = Math.min(BATCH, from - this.position);
      const { bytesRead } = await file.read(batch.data, 0, length, this.position);
      if (bytesRead === 0) throw new Error(`the unfinished image ends at byte ${this.position}`);
      await this.digest.update(batch.index, bytesRead);
      this.free.push(batch);
      this.position += bytesRead;
      seen(this.position);
    }
  }

  async write(chunk: Buffer): Promise<void> {
    if (this.bytes + chunk.length > this.options.mostBytes) {
      throw new MoverFailure(
        'ImageTooLarge',
        `the image has more than ${this.options.mostBytes} bytes, the most that it may have; nothing of it was kept`,
      );
    }
    for (let taken = 0; taken < chunk.length; ) {
      this.batch ??= await this.nextBatch();
      const part = Math.min(chunk.length - taken, BATCH - this.filled);
      chunk.copy(this.batch.data, this.filled, taken, taken + part);
      taken += part;
      this.filled += part;
      // Ends at a multiple of the batch, also when it began elsewhere: holes are found by their places.
      if ((this.position + this.filled) % BATCH === 0 || this.filled === BATCH) this.flush();
    }
  }

  /** Everything on the storage, at its full length. */
  async finish(): Promise<Written> {
    if (this.filled > 0) this.flush();
    await Promise.all(this.busy);
    if (this.failure !== undefined) throw this.failure;
    await this.sync;
    const bytes = this.position;
    if (this.options.blank) await guarded(this.options.file.truncate(bytes));
    await guarded(this.options.file.sync());
    if (this.failure !== undefined) throw this.failure;
    return { bytes, digests: await this.digest.finish() };
  }

  /** As much as has come, for another attempt to go on with. */
  async keep(): Promise<void> {
    await Promise.all(this.busy);
    if (this.failure === undefined) await this.settle();
  }

  /** Ends what runs, also after a failure; the file can be closed then. */
  async end(): Promise<void> {
    await Promise.allSettled([...this.busy, this.sync]);
    await this.digest.end();
  }

  private async nextBatch(): Promise<Batch> {
    while (this.free.length === 0) await Promise.race(this.busy);
    if (this.failure !== undefined) throw this.failure;
    return this.free.pop()!;
  }

  private flush(): void {
    const batch = this.batch!;
    const { position, filled: length } = this;
    this.batch = undefined;
    this.position += length;
    this.filled = 0;
    const task = Promise.all([this.digest.update(batch.index, length), this.store(batch, position, length)])
      .catch((error: unknown) => {
        this.failure ??= error;
      })
      .then(() => {
        this.busy.delete(task);
        this.free.push(batch);
      });
    this.busy.add(task);
  }

  private async store({ data }: Batch, position: number, length: number): Promise<void> {
    const { file, blank } = this.options;
    this.storing.add(position);
    for (const { start, end, zeros } of runs(data.subarray(0, length), position)) {
      if (zeros && (blank || (await isZero(file, position + start, end - start)))) continue;
      await guarded(writeWhole(file, data.subarray(start, end), position + start));
      this.unsynced += end - start;
    }
    this.storing.delete(position);
    if (this.unsynced >= DIRTY) await this.settle();
  }

  /** Lets the storage catch up; one at a time, while other batches are still being read, hashed and written. */
  private async settle(): Promise<void> {
    if (this.sync !== undefined) return await this.sync;
    this.unsynced = 0;
    const written = Math.min(this.position, ...this.storing);
    this.sync = guarded(this.options.file.datasync())
      .then(() => this.options.durable?.(written))
      .finally(() => {
        this.sync = undefined;
      });
    await this.sync;
  }
}

interface Run {
  start: number;
  end: number;
  zeros: boolean;
}

/** Data and zeros in turn, by pieces of HOLE at multiples of it; `data` belongs at `position`. */
export function* runs(data: Buffer, position: number): Generator<Run, void> {
  let run: Run | undefined;
  for (let start = 0; start < data.length; ) {
    const end = Math.min(data.length, start + HOLE - ((position + start) % HOLE));
    const zeros = data.compare(ZEROS, 0, end - start, start, end) === 0;
    if (run?.zeros === zeros) run.end = end;
    else {
      if (run !== undefined) yield run;
      run = { start, end, zeros };
    }
    start = end;
  }
  if (run !== undefined) yield run;
}

/** Whether a device has zeros there already: a thin one stays thin. */
async function isZero(file: FileHandle, position: number, length: number): Promise<boolean> {
  const found = Buffer.allocUnsafe(HOLE);
  for (let at = 0; at < length; at += HOLE) {
    const part = Math.min(HOLE, length - at);
    const { bytesRead } = await file.read(found, 0, part, position + at);
    if (bytesRead < part || found.compare(ZEROS, 0, part, 0, part) !== 0) return false;
  }
  return true;
}

async function writeWhole(file: FileHandle, data: Buffer, position: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    done += (await file.write(data, done, data.length - done, position + done)).bytesWritten;
  }
}

/** Says what a full or broken storage means. */
async function guarded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const code = errno(error);
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
      throw new MoverFailure(
        'ClaimFull',
        `the image does not fit into its claim (${code}): give the claim more room`,
        {
          cause: error,
        },
      );
    }
    if (code === 'EIO') {
      throw new MoverFailure('ClaimUnusable', 'the storage of the claim failed (EIO)', {
        retry: true,
        cause: error,
      });
    }
    throw error;
  }
}
