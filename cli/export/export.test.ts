import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ByteQueue } from '../../crds/byte-queue.ts';
import type { ExportBegin } from '../../crds/export.ts';
import { records } from '../../launcher/export/records.ts';
import { contentOf, exportTo, randomDisk } from '../../test/export/disk.ts';
import { crc32c } from './formats/crc32c.ts';
import { formatOf } from './formats/formats.ts';
import { PartFile } from './part.ts';
import { receiveRecords } from './receive.ts';

let folder: string;
let number = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vmstead-export-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('export', () => {
  it('brings every disk over, wherever the connection breaks off', async () => {
    const cuts = fc.array(fc.double({ min: 0, max: 0.99, noNaN: true }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(randomDisk, cuts, async (disk, where) => {
        const output = join(folder, `${number++}.raw`);
        const shown = await exportTo(output, 'raw', disk, where);
        const written = await readFile(output);
        expect(written.equals(contentOf(disk))).toBe(true);
        expect(shown).toBe(createHash('sha256').update(written).digest('hex'));
        await rm(output);
        expect(await readdir(folder)).toEqual([]);
      }),
      { numRuns: 8 },
    );
  });

  it('does not go on with a file that was deleted', async () => {
    const output = join(folder, 'again.raw');
    const identity = { vm: 'u', snapshot: undefined, disk: undefined, format: 'raw' } as const;
    const begin: ExportBegin = {
      version: 1,
      id: 'i',
      disk: 'd',
      bytes: 4096,
      dataBytes: 0,
      dataBefore: 0,
      at: '',
      consistency: 'Crash',
    };
    const first = await PartFile.open(output, identity, 0);
    first.start(begin);
    await first.write(0, Buffer.alloc(1024, 1));
    await first.good(1024);
    await first.close();
    const second = await PartFile.open(output, identity, 0);
    expect(second.from).toBe(1024);
    await second.close();
    await rm(`${output}.part`);
    const third = await PartFile.open(output, identity, 0);
    expect([third.from, third.begin]).toEqual([0, undefined]);
    await third.close();
    await rm(`${output}.part`);
  });

  it('sends no zeroes, allocated or not', async () => {
    const disk = { rest: 0, runs: [{ after: 20_000, length: 20_000, fill: 0 }] };
    const content = contentOf(disk);
    let sent = 0;
    const source = {
      bytes: content.length,
      async *extents() {
        yield { offset: 0, length: content.length, data: true };
      },
      read: async (offset: number, length: number) => content.subarray(offset, offset + length),
    };
    for await (const record of records(source, 0)) sent += record.length;
    expect(sent).toBeLessThan(100);
  });

  it('does not take what was changed on the way', async () => {
    const content = Buffer.alloc(65_536, 7);
    const source = {
      bytes: content.length,
      async *extents() {
        yield { offset: 0, length: content.length, data: true };
      },
      read: async () => content,
    };
    const all: Buffer[] = [];
    for await (const record of records(source, 0)) all.push(record);
    const stream = Buffer.concat(all);
    stream.writeUInt8(8, 5000);
    const bytes = new ByteQueue({ pause() {}, resume() {} });
    bytes.push(stream);
    const target = { write: async () => {}, good: async () => {} };
    await expect(receiveRecords(bytes, target, () => {})).rejects.toThrow(/not what the pod read/);
  });

  it('makes the other end wait while the file is slow', async () => {
    const seen: string[] = [];
    const bytes = new ByteQueue({ pause: () => seen.push('pause'), resume: () => seen.push('resume') });
    for (let count = 0; count < 20; count++) bytes.push(Buffer.alloc(1024 * 1024));
    expect(seen).toEqual(['pause']);
    await bytes.take(18 * 1024 * 1024);
    expect(seen).toEqual(['pause', 'resume']);
  });

  it('knows a format by the ending of the file', () => {
    expect(['a.qcow2', 'b.RAW', 'c.img', 'd.vmdk', 'e.vhdx'].map(formatOf)).toEqual([
      'qcow2',
      'raw',
      'raw',
      'vmdk',
      'vhdx',
    ]);
    expect(['a', 'a.toString', 'a.vdi', 'x.qcow2.part'].map(formatOf)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('has the CRC that RFC 3720 has', () => {
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });
});
