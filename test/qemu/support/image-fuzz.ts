/** Images with damaged headers, through our own inspection and through whole movers. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageFormat } from '../../../crds/mover.ts';
import { MoverFailure } from '../../../mover/failure.ts';
import { DETECT_BYTES } from '../../../mover/format/detect.ts';
import { inspect } from '../../../mover/format/inspect.ts';
import { HeadReader } from '../../../mover/format/reader.ts';
import { random as generator } from '../../chaos/random.ts';
import { type MoverBox, WORK } from './mover.ts';

const FORMATS: readonly ImageFormat[] = ['qcow2', 'vmdk', 'vdi', 'vpc', 'vhdx'];
/** Where a format has its structures: start and length of what is harmed. */
const PLACES: Readonly<Record<ImageFormat, readonly (readonly [number, number])[]>> = {
  raw: [],
  qcow2: [
    [0, 112],
    [0, 1024],
    [65536, 4096],
    [131072, 4096],
    [196608, 4096],
  ],
  vmdk: [
    [4, 80],
    [512, 512],
    [10752, 4096],
  ],
  vdi: [
    [64, 448],
    [512, 64],
  ],
  vpc: [
    [0, 512],
    [512, 1024],
    [1536, 512],
  ],
  vhdx: [
    [65536, 128],
    [196608, 128],
    [1048576, 512],
    [2097152, 512],
    [3145728, 256],
  ],
};
/** Values that break arithmetic. */
const TELLING = [0, 1, 0x7f, 0x80, 0xff];
const MOST_BYTES = 1024 ** 3;
/** Milliseconds: nothing that a header says may take longer. */
const LONGEST = 30_000;

/** A whole number from 0 to below its argument. */
type Random = (below: number) => number;

export interface FuzzOptions {
  seed: number;
  /** Images to inspect in this process. */
  headers: number;
  /** Images to give to a mover. */
  movers: number;
}

/** Rejects with the seed and the number of the first image that met anything but an answer. */
export async function fuzzImages(
  box: MoverBox,
  { seed, headers, movers }: FuzzOptions,
): Promise<Record<string, number>> {
  await box.sh(
    [
      'head -c 1048576 /dev/urandom > seed.raw; truncate -s 8M seed.raw',
      ...FORMATS.map((format) => `qemu-img convert -f raw -O ${format} seed.raw seed.${format}`),
    ].join('\n'),
  );
  const images = await Promise.all(
    FORMATS.map(async (format) => ({ format, image: await readFile(join(box.directory, `seed.${format}`)) })),
  );
  const next = generator(seed);
  const random: Random = (below) => Math.floor(next() * below);
  const seen: Record<string, number> = {};
  const count = (what: string) => {
    seen[what] = (seen[what] ?? 0) + 1;
  };
  for (let number = 0; number < headers; number++) {
    const { format, image } = images[number % images.length]!;
    const where = `seed ${seed}, header ${number}, ${format}`;
    const found = await withHarm(image, format, random, (harmed) => inspected(harmed, where));
    count(`headers: ${found}`);
  }
  for (let number = 0; number < movers; number++) {
    const { format, image } = images[number % images.length]!;
    await withHarm(image, format, random, (harmed) => writeFile(join(box.directory, 'fuzz'), harmed));
    const where = `seed ${seed}, mover ${number}, ${format}`;
    const began = Date.now();
    const result = await box.move({ type: 'claim', directory: WORK, path: 'fuzz' }, `fuzz-${number}`, {
      maxVirtualBytes: MOST_BYTES,
    });
    if (Date.now() - began > LONGEST) throw new Error(`${where}: took ${Date.now() - began} ms`);
    const code = result!.result === 'Succeeded' ? 'Succeeded' : result!.code;
    if (!['Succeeded', 'ImageUnusable', 'ImageTooLarge'].includes(code))
      throw new Error(`${where}: ${JSON.stringify(result)}`);
    count(`movers: ${code}`);
    await box.sh(`rm -r fuzz-${number}`);
  }
  return seen;
}

/**
 * Some bytes of a structure changed, and sometimes the end cut off, for as long as `use` takes: the images are
 * large and the harm is small.
 */
async function withHarm<T>(
  image: Buffer,
  format: ImageFormat,
  random: Random,
  use: (harmed: Buffer) => Promise<T>,
): Promise<T> {
  const places = PLACES[format];
  const [start, length] = places[random(places.length)]!;
  const whole = Buffer.from(image.subarray(start, start + length + 8));
  for (let change = random(6) + 1; change > 0; change--) {
    const at = start + random(length);
    const value = random(2) === 0 ? TELLING[random(TELLING.length)]! : random(256);
    const width = [1, 2, 4, 8][random(4)]!;
    image.fill(value, at, Math.min(image.length, at + width));
  }
  try {
    return await use(random(8) === 0 ? image.subarray(0, random(image.length)) : image);
  } finally {
    whole.copy(image, start);
  }
}

async function inspected(image: Buffer, where: string): Promise<string> {
  const began = performance.now();
  let what: string;
  try {
    what =
      (await inspect(new HeadReader(image, true), image.subarray(0, DETECT_BYTES), MOST_BYTES))?.format ??
      'later';
  } catch (error) {
    if (!(error instanceof MoverFailure)) throw new Error(where, { cause: error });
    what = error.code;
  }
  if (performance.now() - began > LONGEST) throw new Error(`${where}: took too long`);
  return what;
}
