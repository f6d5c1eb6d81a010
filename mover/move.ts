/** One job: from a source into a target, verified on the way, in one pass. */
import { createHash, type Hash } from 'node:crypto';
import type { Checksum, ImageMetadata, MoverJob } from '../crds/mover.ts';
import { BeginAgain, MoverFailure } from './failure.ts';
import { DETECT_BYTES, type Wrapper } from './format/detect.ts';
import { headOf, type Inspected, inspect } from './format/inspect.ts';
import { confirm } from './format/qemu-img.ts';
import { FileReader, HeadReader } from './format/reader.ts';
import { YoungBuffers } from './memory.ts';
import type { Progress } from './progress.ts';
import type { Source } from './source/source.ts';
import type { Target, Unfinished } from './target/target.ts';
import { Writer, type Written } from './target/writer.ts';
import { unwrapAll } from './unwrap.ts';

/** What is looked at before anything is written: the headers of nearly all images. */
const EARLY_BYTES = 1024 * 1024;

export interface Move {
  job: MoverJob;
  source: Source;
  target: Target;
  /** Of the bytes as they are served. */
  checksum?: Checksum;
  progress: Progress;
  signal: AbortSignal;
  log: (message: string) => void;
}

/** Throws MoverFailure; whatever it throws, no image has been published. */
export async function move(work: Move): Promise<ImageMetadata> {
  const { source, target, progress, log } = work;
  const done = await target.completed();
  if (done !== undefined) return done;
  let unfinished = target.unfinished();
  for (let restart = 0; ; restart++) {
    try {
      return await pass(work, unfinished);
    } catch (error) {
      if (!(error instanceof BeginAgain)) throw error;
      if (restart >= source.mostRestarts) {
        throw new MoverFailure('SourceLost', `${error.message}; given up after ${restart} new beginnings`, {
          retry: true,
        });
      }
      log(`begins again: ${error.message}`);
      progress.begin(0, `began again: ${error.message}`);
      unfinished = undefined;
    }
  }
}

async function pass(work: Move, unfinished: Unfinished | undefined): Promise<ImageMetadata> {
  const { source, target, progress, log } = work;
  const from = unfinished?.bytes ?? 0;
  const file = await target.open(from);
  try {
    const served = new Served(source, progress, work.checksum);
    const stream = served.read(from, unfinished?.version);
    // Only an image that is stored as it is served can be gone on with: a decompressor's state is lost.
    const begun = from === 0 ? await early(work, stream) : { stream, wrappers: [] as Wrapper[], plain: true };
    // Then the writer sees the same bytes.
    if (begun.plain) served.hash = undefined;
    await using writer = openWriter(work, file, from, begun.plain);
    if (from > 0) {
      log(`goes on at byte ${from}`);
      await writer.readAgain((bytes) => progress.begin(bytes, 'reading what is there already'));
      progress.begin(from);
    }
    await fill(writer, begun.stream, work);
    progress.verifying();
    const written = await writer.finish();
    if (work.checksum !== undefined) {
      const { algorithm } = work.checksum;
      compare(work.checksum, served.hash?.digest('hex') ?? written.digests.get(algorithm));
    }
    const metadata = await verify(work, file, written, begun.wrappers, served.bytes);
    await file.close();
    await target.publish(metadata);
    return metadata;
  } finally {
    await file.close().catch(() => {});
  }
}

async function fill(writer: Writer, stream: AsyncGenerator<Buffer, void>, { progress, signal }: Move) {
  const buffers = new YoungBuffers();
  try {
    for await (const chunk of stream) {
      await writer.write(chunk);
      buffers.made(chunk.length);
      progress.wrote(writer.bytes);
      signal.throwIfAborted();
    }
  } catch (error) {
    if (!(error instanceof BeginAgain)) await writer.keep();
    throw error;
  }
}

/** Detects what it is, and refuses what can be refused before anything has been written. */
async function early({ job, source, log }: Move, served: AsyncGenerator<Buffer, void>) {
  if (source.raw) return { stream: served, wrappers: [], plain: true };
  const { head, complete, rest, drop, wrappers } = await unwrapAll(served, EARLY_BYTES);
  try {
    const reader = new HeadReader(head, complete);
    const inspected = await inspect(reader, head.subarray(0, DETECT_BYTES), job.maxVirtualBytes);
    const around = wrappers.length === 0 ? '' : `, in ${wrappers.join(' in ')}`;
    log(`the image is ${inspected?.format ?? 'raw, by its beginning'}${around}`);
  } catch (error) {
    await drop();
    throw error;
  }
  return { stream: rest, wrappers, plain: wrappers.length === 0 };
}

function openWriter(
  { job, source, target, checksum }: Move,
  file: Awaited<ReturnType<Target['open']>>,
  from: number,
  plain: boolean,
) {
  const sameAlgorithm = !plain || checksum === undefined || checksum.algorithm === 'sha256';
  const writer = new Writer({
    file,
    blank: target.blank,
    algorithms: sameAlgorithm ? ['sha256'] : ['sha256', checksum.algorithm],
    from,
    mostBytes: Math.min(mostImageBytes(job.maxVirtualBytes), target.mostBytes),
    durable(bytes) {
      const { version } = source;
      if (plain && version !== undefined) target.keep({ bytes, version });
    },
  });
  return Object.assign(writer, { [Symbol.asyncDispose]: () => writer.end() });
}

/** An image's own tables come on top of what it holds: with the smallest clusters, less than a sixteenth. */
function mostImageBytes(maxVirtualBytes: number): number {
  return Math.ceil(maxVirtualBytes * (17 / 16)) + 64 * 1024 * 1024;
}

async function verify(
  { job, source, target, checksum, signal }: Move,
  file: Awaited<ReturnType<Target['open']>>,
  { bytes, digests }: Written,
  wrappers: Wrapper[],
  sourceBytes: number,
): Promise<ImageMetadata> {
  const reader = new FileReader(file, bytes);
  const inspected = source.raw
    ? rawDisk(bytes)
    : ((await inspect(reader, await headOf(reader), job.maxVirtualBytes)) as Inspected);
  const place = { path: target.path, device: target.device, bytes };
  const virtualBytes = await confirm(place, inspected, job.maxVirtualBytes, signal);
  return {
    version: 1,
    format: inspected.format,
    bytes,
    actualBytes: await target.used(file, bytes),
    virtualBytes,
    sha256: digests.get('sha256')!,
    ...(inspected.iso ? { iso: true } : {}),
    source: {
      ...source.about,
      ...(wrappers.length === 0 ? {} : { compression: wrappers }),
      bytes: sourceBytes,
      ...(checksum === undefined ? {} : { checksum }),
    },
    completedAt: new Date().toISOString(),
  };
}

const rawDisk = (bytes: number): Inspected => ({ format: 'raw', virtualBytes: bytes, iso: false });

function compare({ algorithm, digest }: Checksum, found: string | undefined): void {
  if (found === digest) return;
  throw new MoverFailure(
    'ChecksumMismatch',
    `what the source served has the ${algorithm} ${found}, not ${digest}; the image was not made`,
  );
}

/** Counts what is served, and hashes it. */
class Served {
  bytes = 0;
  hash: Hash | undefined;
  private readonly source: Source;
  private readonly progress: Progress;

  constructor(source: Source, progress: Progress, checksum: Checksum | undefined) {
    this.source = source;
    this.progress = progress;
    this.hash = checksum === undefined ? undefined : createHash(checksum.algorithm);
  }

  async *read(from: number, version: string | undefined): AsyncGenerator<Buffer, void> {
    this.bytes = from;
    for await (const chunk of this.source.read(from, version)) {
      this.bytes += chunk.length;
      this.progress.took(chunk.length);
      this.hash?.update(chunk);
      yield chunk;
    }
  }
}
