/** A mover that is killed at any moment, and images whose headers are anything. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { random } from '../chaos/random.ts';
import { MIB, noise } from '../mover/import.ts';
import { sha, tagOf, webServer } from '../mover/web-server.ts';
import { fuzzImages } from './support/image-fuzz.ts';
import { MoverBox } from './support/mover.ts';

let box: MoverBox;
beforeAll(async () => {
  box = await MoverBox.open();
});
afterAll(async () => await box[Symbol.asyncDispose]());

/** Serves with ranges, at so many bytes a second: there is something to be killed in. */
function slowly(content: Buffer, speed: number): RequestListener {
  const etag = tagOf(content);
  return (request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, {
      ETag: etag,
      'Content-Length': content.length - from,
      ...(from > 0 ? { 'Content-Range': `bytes ${from}-${content.length - 1}/${content.length}` } : {}),
    });
    let at = from;
    const timer = setInterval(() => {
      if (response.writableNeedDrain) return;
      if (at >= content.length) response.end();
      else response.write(content.subarray(at, at + speed / 50));
      at += speed / 50;
    }, 20);
    response.once('close', () => clearInterval(timer));
  };
}

const asItIs = (disk: Buffer) => disk;
const inGz = (disk: Buffer) => gzipSync(disk, { level: 1 });

test.each([
  ['raw', asItIs, 128 * MIB, 60 * MIB, 'goes on'],
  ['raw in gz', inGz, 40 * MIB, 12 * MIB, 'begins again'],
])(
  'killed again and again, %s: never half an image, and the same bytes in the end',
  async (name, wrap, size, speed, how) => {
    const disk = Buffer.concat([noise(size / 2, 4), Buffer.alloc(size / 4), noise(size / 4, 5)]);
    await using server = await webServer(slowly(wrap(disk), speed));
    const target = `killed-${name.replaceAll(' ', '-')}`;
    const directory = join(box.directory, target);
    const source = { type: 'http', url: `${server.url}/disk`, allowPrivateAddresses: true } as const;
    const next = random(20261121);
    let kills = 0;
    for (; kills < 4; kills++) {
      const result = await box.move(source, target, {}, 300 + next() * 1700);
      if (result !== undefined) break;
      expect(existsSync(join(directory, 'disk.json'))).toBe(false);
    }
    expect(kills).toBeGreaterThan(1);
    expect(await box.move(source, target)).toMatchObject({
      result: 'Succeeded',
      image: { sha256: sha(disk) },
    });
    expect(sha(await readFile(join(directory, 'disk.img')))).toBe(sha(disk));
    const ranges = server.requests.filter(({ headers }) => headers.range !== undefined);
    if (how === 'goes on') expect(ranges.length).toBeGreaterThan(0);
    else expect(ranges).toEqual([]);
  },
);

test('whatever a header says, the answer is a result', async () => {
  const seen = await fuzzImages(box, { seed: 20261121, headers: 4000, movers: 10 });
  // It reaches beyond the first check: some are taken, some are refused.
  expect(seen['headers: qcow2']).toBeGreaterThan(50);
  expect(seen['headers: ImageUnusable']).toBeGreaterThan(1000);
  expect(seen['movers: ImageUnusable']).toBeGreaterThan(0);
});
