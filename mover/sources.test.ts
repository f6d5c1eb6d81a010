import { mkdirSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { IMAGE_METADATA_FILE, type MoverResult, UPLOAD_HEADER, UPLOAD_PATH } from '../crds/mover.ts';
import { Bench, MIB, noise } from '../test/mover/import.ts';
import { sha } from '../test/mover/web-server.ts';
import { checksumFor } from './source/checksum-list.ts';
import { FileTarget } from './target/file-target.ts';

const content = noise(3 * MIB + 512);
let bench: Bench;
let from: Bench;
beforeEach(() => {
  bench = new Bench();
  from = new Bench();
});
afterEach(() => {
  bench[Symbol.dispose]();
  from[Symbol.dispose]();
});

const put = (name: string, data: Buffer | string = content) =>
  writeFileSync(join(from.directory, name), data);
const claim = (path?: string) =>
  bench.run(bench.job({ type: 'claim', directory: from.directory, ...(path === undefined ? {} : { path }) }));

describe('a claim', () => {
  test('the only file, the disk of a VM, what disk.json names, or a path', async () => {
    put('other.raw');
    expect(await claim()).toMatchObject({ image: { sha256: sha(content) } });
    put('disk.img', noise(MIB));
    bench[Symbol.dispose]();
    bench = new Bench();
    expect(await claim()).toMatchObject({ image: { bytes: MIB } });
    bench[Symbol.dispose]();
    bench = new Bench();
    expect(await claim('/other.raw')).toMatchObject({ image: { bytes: content.length } });
  });

  test('an image made by a mover is copied as such', async () => {
    put('first');
    await claim();
    const second = new Bench();
    const job = second.job({ type: 'claim', directory: bench.directory });
    expect(await second.run(job)).toMatchObject({ image: { sha256: sha(content) } });
    expect(second.files()).toEqual(['disk.img', IMAGE_METADATA_FILE]);
    second[Symbol.dispose]();
  });

  test('links mean the claim, never the mover', async () => {
    put('a', 'x'.repeat(1024));
    symlinkSync('/etc/passwd', join(from.directory, 'disk.img'));
    expect(await claim()).toMatchObject({
      code: 'ImageUnusable',
      message: expect.stringContaining('there is no'),
    });
    symlinkSync('../../a', join(from.directory, 'link'));
    expect(await claim('link')).toMatchObject({ image: { bytes: 1024 } });
  });

  test('without a disk, or with several', async () => {
    expect(await claim()).toMatchObject({
      message: 'the source has no file in /; name the path of the disk',
    });
    put('a');
    put('b');
    expect(await claim()).toMatchObject({
      message: 'the source has 2 files in /; name the path of the disk',
    });
  });

  test('an image volume has its disk in /disk', async () => {
    mkdirSync(join(from.directory, 'disk'));
    put('disk/any.name');
    const job = bench.job({ type: 'image', directory: from.directory });
    expect(await bench.run(job)).toMatchObject({
      image: { sha256: sha(content), source: { type: 'image' } },
    });
  });
});

describe('the target', () => {
  test('that holds something else is left alone', async () => {
    put('a');
    writeFileSync(join(bench.directory, 'precious'), 'data');
    expect(await claim()).toMatchObject({
      code: 'ClaimUnusable',
      message: expect.stringContaining('precious'),
    });
    expect(bench.files()).toEqual(['precious']);
  });

  test('that holds another image than its metadata say', async () => {
    put('a');
    await claim();
    writeFileSync(join(bench.directory, 'disk.img'), 'short');
    expect(await claim()).toMatchObject({ code: 'ClaimUnusable' });
    expect(bench.files()).toEqual(['disk.img', 'disk.json']);
  });

  test('a file with holes may not be far longer than its volume', () => {
    const { blocks, bsize } = statfsSync(bench.directory);
    expect(new FileTarget(bench.directory, 'key').mostBytes).toBe(4 * blocks * bsize);
  });

  test('blank', async () => {
    const job = bench.job({ type: 'blank', bytes: 1024 * MIB });
    expect(await bench.run(job)).toMatchObject({
      image: { format: 'raw', bytes: 1024 * MIB, virtualBytes: 1024 * MIB, actualBytes: 0 },
    });
    expect(bench.files()).toEqual(['disk.img', 'disk.json']);
  });
});

describe('wrappers', () => {
  test('one in another, and no more', async () => {
    put('a', gzipSync(gzipSync(content)));
    expect(await claim()).toMatchObject({
      image: { sha256: sha(content), source: { compression: ['gz', 'gz'] } },
    });
    bench[Symbol.dispose]();
    bench = new Bench();
    put('a', gzipSync(gzipSync(gzipSync(content))));
    expect(await claim()).toMatchObject({
      code: 'ImageUnusable',
      message: expect.stringContaining('more than 2 times'),
    });
  });

  test.each([
    ['cut off', (data: Buffer) => data.subarray(0, -100)],
    [
      'damaged',
      (data: Buffer) => Buffer.concat([data.subarray(0, 2_000_000), noise(100), data.subarray(2_000_100)]),
    ],
  ])('%s', async (_name, harm) => {
    put('a', harm(gzipSync(content)));
    expect(await claim()).toMatchObject({
      code: 'ImageUnusable',
      message: expect.stringContaining('the gz data'),
    });
    expect(bench.files()).toEqual([]);
  });
});

describe('only looking', () => {
  const looked = () =>
    bench.run(bench.job({ type: 'claim', directory: from.directory }, { target: { type: 'none' } }));

  test('tells the size for a claim, and writes nothing', async () => {
    put('a');
    expect(await looked()).toMatchObject({
      result: 'Succeeded',
      inspection: {
        format: 'raw',
        virtualBytes: content.length,
        bytes: content.length,
        sourceBytes: content.length,
      },
    });
    expect(bench.files()).toEqual([]);
  });

  test('of what is compressed only where the disk itself tells it', async () => {
    put('a', gzipSync(Buffer.concat([content, noise(16 * MIB)])));
    expect(await looked()).toMatchObject({ code: 'ImageSizeUnknown', retry: false });
    const gpt = noise(20 * MIB);
    gpt.write('EFI PART', 512);
    gpt.writeBigUInt64LE(BigInt((20 * MIB) / 512 - 1), 544);
    put('a', gzipSync(gpt));
    expect(await looked()).toMatchObject({ inspection: { virtualBytes: 20 * MIB, bytes: 20 * MIB } });
  });
});

describe('an upload', () => {
  const total = content.length;

  async function uploading() {
    const port = Promise.withResolvers<number>();
    const job = bench.job({
      type: 'upload',
      port: 0,
      checksum: { algorithm: 'sha256', digest: sha(content) },
    });
    const ended = bench.run(job, { listening: port.resolve });
    const at = await port.promise;
    return { ended, port: at, head: () => send(at, 'HEAD') };
  }

  const range = (first: number) => ({
    'content-range': `bytes ${first}-${total - 1}/${total}`,
    [UPLOAD_HEADER.identity]: 'file-1',
    'content-length': total - first,
  });

  test('is taken whole, and answered with the result', async () => {
    const { ended, port, head } = await uploading();
    expect((await head()).headers[UPLOAD_HEADER.offset]).toBe('0');
    const { status, body } = await send(port, 'PUT', range(0), content);
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual(await ended);
    expect(await ended).toMatchObject({ result: 'Succeeded', image: { sha256: sha(content) } });
  });

  test('goes on where it broke off', async () => {
    const { ended, port, head } = await uploading();
    await send(port, 'PUT', range(0), content.subarray(0, 2_000_000), 'cut');
    let offset = 0;
    for (let tries = 0; offset < 2_000_000 && tries < 500; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      offset = Number((await head()).headers[UPLOAD_HEADER.offset]);
    }
    expect(offset).toBe(2_000_000);
    expect((await send(port, 'PUT', range(offset - 1), content.subarray(offset - 1))).status).toBe(409);
    expect((await send(port, 'PUT', range(offset), content.subarray(offset))).status).toBe(200);
    expect(await ended).toMatchObject({ result: 'Succeeded', image: { sha256: sha(content) } });
  });

  test('can be sent in pieces, and begun again', async () => {
    const { ended, port } = await uploading();
    const piece = (first: number, last: number, identity: string) =>
      send(
        port,
        'PUT',
        {
          'content-range': `bytes ${first}-${last - 1}/${total}`,
          [UPLOAD_HEADER.identity]: identity,
          'content-length': last - first,
        },
        content.subarray(first, last),
      );
    expect((await piece(0, 1_500_000, 'other')).status).toBe(202);
    expect((await piece(1_500_000, total, 'file-1')).status).toBe(409);
    expect((await piece(0, 1_000_000, 'file-1')).status).toBe(202);
    expect((await piece(1_000_000, total, 'file-1')).status).toBe(200);
    expect(await ended).toMatchObject({ result: 'Succeeded', image: { sha256: sha(content) } });
  });

  test('that is no disk is refused before it is all there', async () => {
    const { ended, port } = await uploading();
    const html = Buffer.concat([Buffer.from('<html>'), content.subarray(6)]);
    const { status, body } = await send(port, 'PUT', range(0), html);
    expect(status).toBe(422);
    expect(JSON.parse(body)).toMatchObject({ code: 'ImageUnusable' } satisfies Partial<
      MoverResult & { code: string }
    >);
    await ended;
  });

  test.each([
    ['GET', '/etc/passwd', {}, 404],
    ['POST', UPLOAD_PATH, {}, 405],
    ['PUT', UPLOAD_PATH, {}, 400],
    ['PUT', UPLOAD_PATH, { 'content-range': 'bytes 5-4/10', [UPLOAD_HEADER.identity]: 'x' }, 400],
    ['PUT', UPLOAD_PATH, { 'content-range': 'bytes 0-4/5' }, 400],
  ])('%s %s %o: %d', async (method, path, headers, status) => {
    const stop = new AbortController();
    const port = Promise.withResolvers<number>();
    const ended = bench.run(bench.job({ type: 'upload', port: 0 }), {
      listening: port.resolve,
      signal: stop.signal,
    });
    expect((await send(await port.promise, method, headers, undefined, undefined, path)).status).toBe(status);
    stop.abort(new Error('enough'));
    await ended;
  });
});

interface Answered {
  status: number | undefined;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

/** @param cut break the connection off when the body has been sent */
function send(
  port: number,
  method: string,
  headers: Record<string, string | number> = {},
  body?: Buffer,
  cut?: 'cut',
  path = UPLOAD_PATH,
): Promise<Answered> {
  return new Promise((resolve) => {
    const call = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, headers: response.headers, body: text }),
      );
    });
    call.on('error', () => resolve({ status: undefined, headers: {}, body: '' }));
    if (cut === undefined) call.end(body);
    else
      call.write(body, () =>
        setTimeout(() => {
          call.destroy();
          resolve({ status: undefined, headers: {}, body: '' });
        }, 100),
      );
  });
}

describe('lists of checksums', () => {
  const digest = sha(content);
  test.each([
    ['sha256sum', `${sha(noise(4))}  a.img\n${digest}  disk.img\n`],
    ['binary', `${digest} *disk.img`],
    ['a path', `${digest}  ./images/disk.img`],
    ['BSD', `# a comment\nSHA256 (disk.img) = ${digest}\n`],
    ['nothing but the digest', `${digest.toUpperCase()}\n`],
    [
      'signed',
      `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${digest}  disk.img\n-----BEGIN PGP SIGNATURE-----\n`,
    ],
    ['weaker ones beside it', `${sha(content, 'md5')}  disk.img\n${digest}  disk.img\n`],
  ])('%s', (_name, list) => {
    expect(checksumFor(list, 'disk.img')).toEqual({ algorithm: 'sha256', digest });
  });

  test.each([
    ['not there', `${digest}  other.img`, 'has no SHA-256 or SHA-512 of disk.img'],
    ['twice, differently', `${digest}  disk.img\n${sha(noise(4))}  a/disk.img`, 'has several of disk.img'],
  ])('%s', (_name, list, message) => {
    expect(() => checksumFor(list, 'disk.img')).toThrow(message);
  });
});
