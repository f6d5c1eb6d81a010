/** Random disks, and the whole way from one to a file, with the connection cut off wherever a test wants it. */
import { open } from 'node:fs/promises';
import * as fc from 'fast-check';
import type { FormatName } from '../../cli/export/formats/formats.ts';
import { PartFile } from '../../cli/export/part.ts';
import { receiveRecords } from '../../cli/export/receive.ts';
import { BrokenOffError, ByteQueue } from '../../crds/byte-queue.ts';
import { type ExportBegin, GRAIN } from '../../crds/export.ts';
import { records, type Source } from '../../launcher/export/records.ts';

const SECTOR = 512;

/** A part of a disk, in sectors. */
interface Run {
  /** Holes before it. */
  after: number;
  length: number;
  /** Zeroes that are allocated, or data of this seed. */
  fill: number;
}

export interface RandomDisk {
  /** Sectors behind the last run. */
  rest: number;
  runs: Run[];
}

/** Disks of some MiB, with runs that begin and end at any sector. */
export const randomDisk: fc.Arbitrary<RandomDisk> = fc.record({
  rest: fc.oneof(fc.nat(300), fc.constantFrom(0, 1, 127, 128, 129, 20_000)),
  runs: fc.array(
    fc.record({
      after: fc.oneof(fc.nat(9000), fc.nat(130), fc.constant(0)),
      length: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 130 })),
      fill: fc.nat(255),
    }),
    { maxLength: 6 },
  ),
});

/** Bytes, holes included; where nothing was written they take no memory. */
export function contentOf({ rest, runs }: RandomDisk): Buffer {
  const sectors = runs.reduce((sum, { after, length }) => sum + after + length, rest + 1);
  const content = Buffer.alloc(sectors * SECTOR);
  let at = 0;
  for (const { after, length, fill } of runs) {
    at += after * SECTOR;
    const end = at + length * SECTOR;
    // Not the same in each grain: one in the place of another must be seen.
    for (let step = 0; fill > 0 && at + step * 64 < end; step++) {
      content.fill((fill + step) & 0xff, at + step * 64, at + (step + 1) * 64);
    }
    at = end;
  }
  return content;
}

/** The disk as a file, with its holes. */
export async function writeTruth(path: string, disk: RandomDisk): Promise<void> {
  const content = contentOf(disk);
  await using file = await open(path, 'w');
  await file.truncate(content.length);
  let at = 0;
  for (const { after, length } of disk.runs) {
    at += after * SECTOR;
    await file.write(content, at, length * SECTOR, at);
    at += length * SECTOR;
  }
}

function sourceOf({ runs }: RandomDisk, content: Buffer): Source {
  return {
    bytes: content.length,
    async *extents(from) {
      let at = 0;
      for (const { after, length } of [...runs, { after: 0, length: 0 }]) {
        for (const [size, data] of [
          [after * SECTOR, false],
          [length * SECTOR, true],
        ] as const) {
          const begin = Math.max(at, from);
          if (at + size > begin) yield { offset: begin, length: at + size - begin, data };
          at += size;
        }
      }
    },
    read: async (offset, length) => Buffer.from(content.subarray(offset, offset + length)),
  };
}

const CHECK_EVERY = 32 * GRAIN;

/**
 * Writes a disk to `output`. Each of `cuts` is a share, from 0 to 1, of what a connection still has to bring at which
 * it breaks off; every second time the command is ended there too. Returns the checksum that a person is shown.
 */
export async function exportTo(
  output: string,
  format: FormatName,
  disk: RandomDisk,
  cuts: readonly number[] = [],
): Promise<string> {
  const content = contentOf(disk);
  const identity = { vm: 'u', snapshot: undefined, disk: undefined, format };
  const begin: ExportBegin = {
    version: 1,
    id: 'i',
    disk: 'd',
    bytes: content.length,
    dataBytes: 0,
    dataBefore: 0,
    at: '',
    consistency: 'Crash',
  };
  let part = await PartFile.open(output, identity, 0);
  for (let tries = 0; ; tries++) {
    const bytes = new ByteQueue({ pause() {}, resume() {} });
    const all: Buffer[] = [];
    for await (const record of records(sourceOf(disk, content), part.from, CHECK_EVERY)) all.push(record);
    const stream = Buffer.concat(all);
    const cut = cuts[tries];
    bytes.push(cut === undefined ? stream : stream.subarray(0, Math.floor(stream.length * cut)));
    bytes.end('cut off');
    part.start(begin);
    try {
      await receiveRecords(bytes, part, () => {});
      return await part.finish();
    } catch (error) {
      if (!(error instanceof BrokenOffError)) throw error;
      if (tries % 2 === 0) await part.goBack();
      else {
        await part.close();
        part = await PartFile.open(output, identity, 0);
      }
    }
  }
}
