import { mkdtempSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { noise } from '../../test/mover/import.ts';
import { sha } from '../../test/mover/web-server.ts';
import { runs, Writer } from './writer.ts';

const KIB = 1024;
let directory: string;
let file: FileHandle;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vmstead-writer-'));
  file = await open(join(directory, 'file'), 'w+');
});
afterEach(async () => {
  await file.close();
  rmSync(directory, { recursive: true });
});

test('runs of data and zeros are found by their places, not by those of the pieces', () => {
  const data = Buffer.alloc(200 * KIB);
  data[100 * KIB] = 1;
  expect([...runs(data, 0)]).toEqual([
    { start: 0, end: 64 * KIB, zeros: true },
    { start: 64 * KIB, end: 128 * KIB, zeros: false },
    { start: 128 * KIB, end: 200 * KIB, zeros: true },
  ]);
  expect([...runs(data, 32 * KIB)]).toEqual([
    { start: 0, end: 96 * KIB, zeros: true },
    { start: 96 * KIB, end: 160 * KIB, zeros: false },
    { start: 160 * KIB, end: 200 * KIB, zeros: true },
  ]);
});

test('however the stream is cut, over whatever was there: the same bytes and their digest', async () => {
  const piece = fc.record({
    zeros: fc.boolean(),
    length: fc.integer({ min: 1, max: 900 * KIB }),
    seed: fc.nat(99),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), fc.boolean(), async (pieces, blank) => {
      const chunks = pieces.map(({ zeros, length, seed }) =>
        zeros ? Buffer.alloc(length) : noise(length, seed),
      );
      const whole = Buffer.concat(chunks);
      await file.truncate(0);
      if (!blank) await file.write(noise(whole.length, 1000), 0, whole.length, 0);
      const writer = new Writer({ file, blank, algorithms: ['sha256'], from: 0, mostBytes: whole.length });
      for (const chunk of chunks) await writer.write(chunk);
      const { bytes, digests } = await writer.finish();
      const found = Buffer.alloc(whole.length);
      await file.read(found, 0, found.length, 0);
      expect({ bytes, sha: digests.get('sha256') }).toEqual({ bytes: whole.length, sha: sha(whole) });
      expect(found.equals(whole)).toBe(true);
    }),
    { numRuns: 10 },
  );
});

test('what is told to be durable can be gone on with', async () => {
  const content = noise(80 * KIB * KIB, 3);
  const kept: number[] = [];
  const first = new Writer({
    file,
    blank: true,
    algorithms: ['sha256'],
    from: 0,
    mostBytes: content.length,
    durable: (bytes) => kept.push(bytes),
  });
  for (let at = 0; at < 70 * KIB * KIB; at += 300 * KIB)
    await first.write(content.subarray(at, at + 300 * KIB));
  await first.end();
  const from = kept.at(-1)!;
  expect(from).toBeGreaterThanOrEqual(32 * KIB * KIB);
  expect(kept).toEqual([...kept].sort((a, b) => a - b));
  // As another process would find it.
  await file.truncate(from);
  const second = new Writer({ file, blank: true, algorithms: ['sha256'], from, mostBytes: content.length });
  await second.readAgain(() => {});
  await second.write(content.subarray(from));
  expect((await second.finish()).digests.get('sha256')).toBe(sha(content));
});

test('a full storage is told as such', async () => {
  const full = await open('/dev/full', 'r+');
  const writer = new Writer({ file: full, blank: false, algorithms: [], from: 0, mostBytes: 1e9 });
  await writer.write(noise(2 * KIB * KIB));
  await expect(writer.finish()).rejects.toMatchObject({ code: 'ClaimFull', retry: false });
  await writer.end();
  await full.close();
});
