/**
 * A disk in layers, read from the outside as one: files that nobody changes where it counts. A merge, which the
 * launcher that owns the layers may carry out meanwhile, only copies into a layer what one above it has already, and
 * that one is open here; so every cluster reads the same before, during and after it.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { MAGIC } from '../../launcher/disks/qcow2.ts';
import { unusable } from '../failure.ts';

const HEADER = 104;
/** Dirty refcounts (bit 0) do not matter to a reader; everything else that is incompatible does. */
const HARMLESS = 1n;
const OFFSET = 0x00fffffffffffe00n;
const COMPRESSED = 1n << 62n;
const ZERO = 1n;

type Found = 'below' | 'zero' | number;

/** A layer, by the place of each cluster in its file. */
abstract class LayerReader {
  readonly file: FileHandle;
  readonly virtualBytes: number;

  constructor(file: FileHandle, virtualBytes: number) {
    this.file = file;
    this.virtualBytes = virtualBytes;
  }

  /** Where the data at `at` are in the file. */
  abstract find(at: number): Promise<Found>;
}

class RawReader extends LayerReader {
  async find(at: number): Promise<Found> {
    return at;
  }
}

class Qcow2Reader extends LayerReader {
  private readonly l1: Buffer;
  private readonly bits: number;
  private table: { offset: number; entries: Buffer } | undefined;

  constructor(file: FileHandle, virtualBytes: number, bits: number, l1: Buffer) {
    super(file, virtualBytes);
    this.bits = bits;
    this.l1 = l1;
  }

  async find(at: number): Promise<Found> {
    const cluster = 2 ** this.bits;
    const perTable = cluster / 8;
    const index = Math.floor(at / cluster);
    const place = Math.floor(index / perTable) * 8;
    const offset = place < this.l1.length ? Number(this.l1.readBigUInt64BE(place) & OFFSET) : 0;
    if (offset === 0) return 'below';
    if (this.table?.offset !== offset) {
      this.table = { offset, entries: await readAll(this.file, offset, cluster) };
    }
    const entry = this.table.entries.readBigUInt64BE((index % perTable) * 8);
    if ((entry & COMPRESSED) !== 0n) throw unusable('a layer of the snapshot has compressed clusters');
    if ((entry & ZERO) !== 0n) return 'zero';
    const data = Number(entry & OFFSET);
    return data === 0 ? 'below' : data + (at % cluster);
  }
}

export interface LayerFile {
  path: string;
  format: 'raw' | 'qcow2';
}

/** Clusters of all layers begin at multiples of this. */
const STEP = 65536;
const MOST = 1024 * 1024;
const ZEROES = Buffer.alloc(MOST);

export class LayerChain implements AsyncDisposable {
  private readonly layers: readonly LayerReader[];

  private constructor(layers: readonly LayerReader[]) {
    this.layers = layers;
  }

  /** @param files the top first. Rejects with ENOENT where one is not there (any more), and with ImageUnusable. */
  static async open(files: readonly LayerFile[]): Promise<LayerChain> {
    const layers: LayerReader[] = [];
    try {
      for (const file of files) layers.push(await openLayer(file));
    } catch (error) {
      for (const { file } of layers) await file.close();
      throw error;
    }
    return new LayerChain(layers);
  }

  get virtualBytes(): number {
    return this.layers[0]?.virtualBytes ?? 0;
  }

  /** From `from` to the end. A buffer is good until the next one is asked for. */
  async *read(from: number): AsyncGenerator<Buffer, void> {
    const { virtualBytes } = this;
    let at = from;
    let found = await this.find(at);
    while (at < virtualBytes) {
      const begin = { at, found };
      let end = at;
      // Neighbours in one file are one read.
      do {
        end = Math.min(virtualBytes, (Math.floor(end / STEP) + 1) * STEP);
        if (end < virtualBytes) found = await this.find(end);
      } while (end < virtualBytes && end - begin.at < MOST && follows(begin, { at: end, found }));
      yield await this.take(begin.found, end - begin.at);
      at = end;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { file } of this.layers) await file.close();
  }

  private async find(at: number): Promise<Place | undefined> {
    for (const layer of this.layers) {
      // A disk that has grown: what lies below it ends earlier.
      if (at >= layer.virtualBytes) return undefined;
      const found = await layer.find(at);
      if (found === 'zero') return undefined;
      if (found !== 'below') return { layer, offset: found, left: layer.virtualBytes - at };
    }
    return undefined;
  }

  private async take(place: Place | undefined, bytes: number): Promise<Buffer> {
    if (place === undefined) return ZEROES.subarray(0, bytes);
    const buffer = Buffer.alloc(bytes);
    // What is behind the end of a layer's disk reads as zeroes, as what is behind the end of its file does.
    await fill(place.layer.file, buffer.subarray(0, Math.min(bytes, place.left)), place.offset);
    return buffer;
  }
}

interface Place {
  layer: LayerReader;
  offset: number;
  /** Bytes until the layer's disk ends. */
  left: number;
}

function follows(
  begin: { at: number; found: Place | undefined },
  next: { at: number; found: Place | undefined },
): boolean {
  if (begin.found === undefined || next.found === undefined) return begin.found === next.found;
  return (
    begin.found.layer === next.found.layer && next.found.offset - begin.found.offset === next.at - begin.at
  );
}

async function openLayer({ path, format }: LayerFile): Promise<LayerReader> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return format === 'raw' ? new RawReader(file, (await file.stat()).size) : await qcow2(file, path);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function qcow2(file: FileHandle, path: string): Promise<LayerReader> {
  const header = await readAll(file, 0, HEADER);
  const features = header.readBigUInt64BE(72);
  const bits = header.readUInt32BE(20);
  if (header.readUInt32BE(0) !== MAGIC || header.readUInt32BE(4) !== 3 || (features & ~HARMLESS) !== 0n) {
    throw unusable(`layer ${path} is not one that Vmstead made, or is marked as damaged`);
  }
  if (bits < 16 || bits > 21 || header.readUInt32BE(32) !== 0) {
    throw unusable(`layer ${path} is not one that Vmstead made`);
  }
  const entries = header.readUInt32BE(36);
  const l1 = await readAll(file, Number(header.readBigUInt64BE(40)), entries * 8);
  return new Qcow2Reader(file, Number(header.readBigUInt64BE(24)), bits, l1);
}

async function readAll(file: FileHandle, at: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  await fill(file, buffer, at);
  return buffer;
}

/** What is behind the end of the file is left as it is. */
async function fill(file: FileHandle, buffer: Buffer, at: number): Promise<void> {
  for (let done = 0; done < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, at + done);
    if (bytesRead === 0) return;
    done += bytesRead;
  }
}
