/** Takes compression off a stream, in bounded memory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createGunzip } from 'node:zlib';
import { MoverFailure, unusable } from './failure.ts';
import { type Wrapper, wrapperOf } from './format/detect.ts';

/** Most that a decompressor may use: what files of `xz -9` and `zstd -19 --long=26` need. */
const MEMORY_MIB = 80;

/**
 * Programs of their own: Node has no xz and no bzip2, and its zstd stops after the first of several frames. One
 * thread: more of them would each need memory for a block.
 */
const PROGRAM: Readonly<Record<Exclude<Wrapper, 'gz'>, readonly string[]>> = {
  xz: ['xz', '--decompress', '--stdout', '--threads=1', `--memlimit-decompress=${MEMORY_MIB}MiB`],
  zst: ['zstd', '--decompress', '--stdout', '--quiet', `--memory=${MEMORY_MIB}MB`],
  bz2: ['bzip2', '--decompress', '--stdout', '--quiet'],
};

/** Throws what `input` threw, or ImageUnusable when the data are damaged or cut off. */
function unwrap(wrapper: Wrapper, input: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  return wrapper === 'gz' ? gunzip(input) : throughProgram(wrapper, PROGRAM[wrapper], input);
}

async function* gunzip(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  const stream = createGunzip({ chunkSize: 256 * 1024 });
  let inputError: unknown;
  void feed(input, stream).catch((error: unknown) => {
    inputError = error ?? new Error('no reason');
    stream.destroy(error as Error);
  });
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (error) {
    if (inputError !== undefined) throw inputError;
    throw damaged('gz', (error as Error).message);
  } finally {
    stream.destroy();
  }
}

async function* throughProgram(
  wrapper: Wrapper,
  [program, ...args]: readonly string[],
  input: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void> {
  const child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let words = '';
  let inputError: unknown;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(0, 1024);
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) =>
      reject(new MoverFailure('MoverFailed', `cannot run ${program}: ${error.message}`)),
    );
    child.once('close', resolve);
  });
  closed.catch(nothing);
  // It may end before it has read everything; its exit code says why.
  child.stdin.on('error', () => {});
  void feed(input, child.stdin).catch((error: unknown) => {
    inputError = error ?? new Error('no reason');
    child.kill('SIGKILL');
  });
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer;
    const code = await closed;
    if (inputError !== undefined) throw inputError;
    if (code !== 0) throw damaged(wrapper, words.trim() || `${program} ended with ${code}`);
  } finally {
    child.kill('SIGKILL');
    child.stdin.destroy();
    await closed.catch(() => {});
  }
}

/** Why a stream ended is told elsewhere: by its reader. */
const nothing = () => {};

async function feed(input: AsyncIterable<Buffer>, into: NodeJS.WritableStream & { destroyed?: boolean }) {
  const gone = once(into, 'close').then(nothing, nothing);
  for await (const chunk of input) {
    if (into.destroyed) return;
    if (!into.write(chunk)) await Promise.race([once(into, 'drain').then(nothing, nothing), gone]);
  }
  into.end();
}

function damaged(wrapper: Wrapper, words: string): MoverFailure {
  const text = words.replaceAll(/\(stdin\): |\/\*stdin\*\\?\/?\s*: |-: /g, '').slice(0, 256);
  return unusable(`the ${wrapper} data of the source are damaged or cut off: ${text}`);
}

interface Peeked {
  /** The first bytes: as many as were asked for, or all. */
  head: Buffer;
  complete: boolean;
  /** Everything, the head included. */
  rest: AsyncGenerator<Buffer, void>;
  /** Ends the stream without reading on; `rest` could not before it has begun. */
  drop(): Promise<unknown>;
}

/** Looks at the first `length` bytes of a stream. */
async function peek(stream: AsyncGenerator<Buffer, void>, length: number): Promise<Peeked> {
  const chunks: Buffer[] = [];
  let have = 0;
  let complete = false;
  while (have < length) {
    const { done, value } = await stream.next();
    if (done) {
      complete = true;
      break;
    }
    chunks.push(value);
    have += value.length;
  }
  const head = Buffer.concat(chunks, have);
  async function* rest(): AsyncGenerator<Buffer, void> {
    try {
      if (head.length > 0) yield head;
      if (!complete) yield* stream;
    } finally {
      await stream.return();
    }
  }
  return { head, complete, rest: rest(), drop: () => stream.return() };
}

const MOST_WRAPPERS = 2;

export interface Unwrapped extends Peeked {
  wrappers: Wrapper[];
}

/** Takes off what is around an image, and looks at its first `length` bytes. */
export async function unwrapAll(stream: AsyncGenerator<Buffer, void>, length: number): Promise<Unwrapped> {
  const wrappers: Wrapper[] = [];
  let peeked = await peek(stream, length);
  for (;;) {
    const wrapper = wrapperOf(peeked.head);
    if (wrapper === undefined) return { ...peeked, wrappers };
    if (wrappers.length === MOST_WRAPPERS) {
      await peeked.drop();
      throw unusable(`the source is compressed more than ${MOST_WRAPPERS} times`);
    }
    wrappers.push(wrapper);
    peeked = await peek(unwrap(wrapper, peeked.rest), length);
  }
}
