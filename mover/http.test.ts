import { statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { issueAuthority, issueServer } from '../operator/channel/x509.ts';
import { Bench, IMPATIENT, MIB, noise } from '../test/mover/import.ts';
import { type Serving, serve, sha, tagOf, webServer } from '../test/mover/web-server.ts';
import { Progress } from './progress.ts';
import { AddressGuard } from './source/addresses.ts';
import { HttpSource } from './source/http.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench[Symbol.dispose]());

const content = Buffer.concat([noise(MIB), Buffer.alloc(3 * MIB), noise(MIB / 2 + 512, 7)]);

async function imported(serving: Partial<Serving>, more: Parameters<Bench['fetch']>[1] = {}) {
  await using server = await webServer(serve({ content, ...serving }));
  const result = await bench.fetch(`${server.url}/disk`, more);
  return { result, ranges: server.requests.map(({ headers }) => headers.range) };
}

describe('a good server', () => {
  test('every byte, holes for zeros, metadata that are true, nothing left over', async () => {
    const { result } = await imported({ lastModified: 'Thu, 01 Jan 2026 00:00:00 GMT' });
    expect(result).toMatchObject({
      result: 'Succeeded',
      image: {
        format: 'raw',
        bytes: content.length,
        virtualBytes: content.length,
        sha256: sha(content),
        source: { type: 'http', bytes: content.length, etag: tagOf(content) },
      },
    });
    expect(bench.files()).toEqual(['disk.img', 'disk.json']);
    expect(bench.read('disk.img').equals(content)).toBe(true);
    expect(JSON.parse(bench.read('disk.json').toString())).toEqual('image' in result && result.image);
    const { blocks } = statSync(join(bench.directory, 'disk.img'));
    expect(blocks * 512).toBeLessThan(2 * MIB);
  });

  test('the image is not made again, nor even asked for', async () => {
    await using server = await webServer(serve({ content }));
    const first = await bench.fetch(`${server.url}/disk`);
    const second = await bench.fetch(`${server.url}/disk`);
    expect(server.requests).toHaveLength(1);
    expect('image' in second && second.image).toEqual('image' in first && first.image);
  });

  test('a Secret makes headers, which no other host gets', async () => {
    const secret = new Bench();
    writeFileSync(join(secret.directory, 'user'), 'ann\n');
    writeFileSync(join(secret.directory, 'password'), 'p:w\n');
    writeFileSync(join(secret.directory, 'headers'), 'X-Token: abc\n');
    await using other = await webServer(serve({ content }));
    await using server = await webServer((request, response) => {
      if (request.headers['x-token'] !== 'abc') response.writeHead(401).end();
      else response.writeHead(302, { Location: `${other.url}/there?signature=1` }).end();
    });
    const result = await bench.fetch(`${server.url}/disk`, { secretDirectory: secret.directory });
    expect(result.result).toBe('Succeeded');
    const basic = `Basic ${Buffer.from('ann:p:w').toString('base64')}`;
    expect(server.requests[0]!.headers).toMatchObject({ authorization: basic, 'x-token': 'abc' });
    expect(other.requests[0]!.headers).not.toHaveProperty('authorization');
    expect(other.requests[0]!.headers).not.toHaveProperty('x-token');
    secret[Symbol.dispose]();
  });

  test('https with an authority of its own, and not without it', async () => {
    const day = 86_400_000;
    const validity = { notBefore: new Date(Date.now() - day), notAfter: new Date(Date.now() + day) };
    const authority = issueAuthority('test', validity);
    const trusted = new Bench();
    writeFileSync(join(trusted.directory, 'ca.crt'), authority.certificate);
    await using server = await webServer(serve({ content }), issueServer(authority, ['localhost'], validity));
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({
      code: 'SourceRefused',
      message: expect.stringContaining('is not trusted'),
      retry: false,
    });
    const result = await bench.fetch(`${server.url}/disk`, { caDirectory: trusted.directory });
    expect(result).toMatchObject({ result: 'Succeeded' });
    trusted[Symbol.dispose]();
  });

  test('by a proxy, https too', async () => {
    const day = 86_400_000;
    const validity = { notBefore: new Date(Date.now() - day), notAfter: new Date(Date.now() + day) };
    const authority = issueAuthority('test', validity);
    const trusted = new Bench();
    writeFileSync(join(trusted.directory, 'ca.crt'), authority.certificate);
    await using server = await webServer(serve({ content }), issueServer(authority, ['localhost'], validity));
    await using proxy = await tunnels(200);
    const result = await bench.fetch(`${server.url}/disk`, {
      caDirectory: trusted.directory,
      proxy: proxy.url,
    });
    expect(result).toMatchObject({ result: 'Succeeded' });
    expect(proxy.asked).toEqual([new URL(server.url).host]);
    trusted[Symbol.dispose]();
  });

  test('by a proxy that wants a password, which the server is not told', async () => {
    const secret = new Bench();
    writeFileSync(join(secret.directory, 'proxyUser'), 'ann\n');
    writeFileSync(join(secret.directory, 'proxyPassword'), 'p:w\n');
    const wanted = `Basic ${Buffer.from('ann:p:w').toString('base64')}`;
    await using server = await webServer(serve({ content }));
    await using proxy = await tunnels(200, wanted);
    const asked = { proxy: proxy.url, secretDirectory: secret.directory };
    expect(await bench.fetch(`${server.url}/disk`, asked)).toMatchObject({ result: 'Succeeded' });
    expect(JSON.stringify(server.requests[0]!.headers)).not.toMatch(/authorization/i);
    const without = new Bench();
    expect(await without.fetch(`${server.url}/disk`, { proxy: proxy.url })).toMatchObject({
      code: 'SourceRefused',
      message: expect.stringContaining('with 407'),
    });
    for (const each of [secret, without]) each[Symbol.dispose]();
  });

  test('a proxy that refuses is named', async () => {
    await using proxy = await tunnels(407);
    expect(await bench.fetch('http://disks.example/disk', { proxy: proxy.url })).toMatchObject({
      code: 'SourceRefused',
      message: expect.stringMatching(
        /^the proxy 127\.0\.0\.1:\d+ refused a connection to disks\.example:80 with 407$/,
      ),
    });
  });
});

describe('checksums', () => {
  test.each(['sha256', 'sha512'] as const)('%s', async (algorithm) => {
    const checksum = { algorithm, digest: sha(content, algorithm) };
    const { result } = await imported({}, { checksum });
    expect(result).toMatchObject({ result: 'Succeeded', image: { source: { checksum } } });
  });

  test('of what is served, not of what is inside', async () => {
    const served = gzipSync(content);
    const checksum = { algorithm: 'sha256', digest: sha(served) } as const;
    const { result } = await imported({ content: served }, { checksum });
    expect(result).toMatchObject({
      result: 'Succeeded',
      image: { sha256: sha(content), bytes: content.length, source: { checksum, compression: ['gz'] } },
    });
  });

  test.each([
    ['plain', content],
    ['compressed', gzipSync(content)],
  ])('that are wrong leave nothing: %s', async (_name, served) => {
    const { result } = await imported(
      { content: served },
      { checksum: { algorithm: 'sha256', digest: sha(noise(4)) } },
    );
    expect(result).toMatchObject({ code: 'ChecksumMismatch', retry: false });
    expect(bench.files()).toEqual([]);
  });

  test('from a list beside the image', async () => {
    const list = `${sha(noise(8))}  other.img\n${sha(content)} *disk.img\n`;
    await using server = await webServer((request, response) =>
      request.url === '/SHA256SUMS' ? response.end(list) : serve({ content })(request, response),
    );
    const result = await bench.fetch(`${server.url}/disk.img`, {
      checksum: { url: `${server.url}/SHA256SUMS` },
    });
    expect(result).toMatchObject({ image: { source: { checksum: { digest: sha(content) } } } });
  });
});

test('a list of checksums that cannot be had is asked for again another time', async () => {
  const checksum = { url: 'http://127.0.0.1:9/SHA256SUMS' };
  expect((await imported({}, { checksum })).result).toMatchObject({ code: 'SourceLost', retry: true });
});

describe('a connection that breaks off', () => {
  test('is taken up where it broke, if it is still the same', async () => {
    const cuts = [100_000, 2_000_000, 1, 1_500_000];
    const { result, ranges } = await imported({ cuts });
    expect(result).toMatchObject({ image: { sha256: sha(content), source: { bytes: content.length } } });
    expect(ranges).toEqual([
      undefined,
      'bytes=100000-',
      'bytes=2100000-',
      'bytes=2100001-',
      'bytes=3600001-',
    ]);
    expect(bench.progress.now(0).reconnects).toBe(4);
  });

  test('also in the middle of what is compressed', async () => {
    const served = gzipSync(content);
    const { result } = await imported({ content: served, cuts: [served.length / 3, served.length / 3] });
    expect(result).toMatchObject({ image: { sha256: sha(content) } });
  });

  test('without ranges the beginning is read again and dropped', async () => {
    const { result, ranges } = await imported({ ranges: false, cuts: [2_000_000] });
    expect(result).toMatchObject({ image: { sha256: sha(content), source: { bytes: content.length } } });
    expect(ranges).toHaveLength(2);
    expect(bench.logged.join()).not.toContain('begins again');
  });

  test('a changed file is taken from its first byte', async () => {
    const changed = noise(content.length, 3);
    let serving = serve({ content, cuts: [2_000_000] });
    await using server = await webServer((request, response) => {
      serving(request, response);
      serving = serve({ content: changed });
    });
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({ image: { sha256: sha(changed) } });
    expect(bench.logged).toContainEqual(expect.stringMatching(/^begins again: .* has changed meanwhile$/));
  });

  test('a file that nothing identifies is begun again, unless there is a checksum', async () => {
    const unnamed = { etag: '', cuts: [2_000_000] };
    expect((await imported(unnamed)).result).toMatchObject({ image: { sha256: sha(content) } });
    expect(bench.logged).toContainEqual(expect.stringContaining('nothing tells whether'));
    const other = new Bench();
    bench[Symbol.dispose]();
    bench = other;
    const checksum = { algorithm: 'sha256', digest: sha(content) } as const;
    expect((await imported(unnamed, { checksum })).result).toMatchObject({ result: 'Succeeded' });
    expect(bench.logged.join()).not.toContain('begins again');
  });

  test('again and again without a byte ends, and may be tried later', async () => {
    const { result, ranges } = await imported({ cuts: [2_000_000, 0, 0, 0, 0, 0] });
    expect(result).toMatchObject({ code: 'SourceLost', retry: true });
    expect(ranges).toHaveLength(1 + IMPATIENT.tries);
    expect(bench.files()).not.toContain('disk.json');
  });

  test('and a mover that ended meanwhile: the next one goes on from what is there', async () => {
    await using server = await webServer(serve({ content, cuts: [3_000_000, 0, 0, 0, 0] }));
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({ code: 'SourceLost' });
    expect(bench.files()).toEqual(['disk.part', 'disk.part.json']);
    const before = server.requests.length;
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({ image: { sha256: sha(content) } });
    // Whole batches are kept.
    expect(server.requests[before]!.headers.range).toBe(`bytes=${2 * MIB}-`);
    expect(bench.files()).toEqual(['disk.img', 'disk.json']);
  });

  test('what is there is not added to when the source has changed, or is another one', async () => {
    const changed = noise(content.length, 5);
    await using server = await webServer(serve({ content, cuts: [3_000_000, 0, 0, 0, 0] }));
    await using other = await webServer(serve({ content: changed }));
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({ code: 'SourceLost' });
    expect(await bench.fetch(`${other.url}/disk`)).toMatchObject({ image: { sha256: sha(changed) } });
    expect(other.requests[0]!.headers.range).toBeUndefined();
  });
});

describe('a server that lies, stalls or never ends', () => {
  test('more Content-Length than bytes', async () => {
    const { result } = await imported({ contentLength: content.length + 1000 });
    expect(result).toMatchObject({ result: 'Failed', code: 'SourceLost' });
    expect(bench.files()).not.toContain('disk.json');
  });

  test('a stream without end', async () => {
    await using server = await webServer((_request, response) => {
      const piece = noise(256 * 1024);
      const more = () => {
        while (!response.destroyed && response.write(piece));
        response.once('drain', more);
      };
      response.writeHead(200);
      more();
    });
    const result = await bench.run(
      bench.job(
        { type: 'http', url: `${server.url}/disk`, allowPrivateAddresses: true },
        { maxVirtualBytes: MIB },
      ),
    );
    expect(result).toMatchObject({ code: 'ImageTooLarge', retry: false });
    expect(bench.files()).toEqual([]);
  });

  test('a compressed bomb', async () => {
    const bomb = gzipSync(Buffer.alloc(200 * MIB));
    const { result } = await imported({ content: bomb });
    expect(result).toMatchObject({ code: 'ImageTooLarge', retry: false });
    expect(bench.files()).toEqual([]);
  });

  test('a few bytes now and then', async () => {
    await using server = await webServer((_request, response) => {
      response.writeHead(200, { 'Content-Length': 10 * MIB, ETag: '"slow"' });
      const timer = setInterval(() => response.write(noise(512)), 20);
      response.once('close', () => clearInterval(timer));
    });
    const result = await bench.fetch(`${server.url}/disk`);
    expect(result).toMatchObject({ code: 'SourceLost', retry: true });
    expect(result).toMatchObject({ message: expect.stringContaining('too slow') });
  });

  test('no byte any more, no answer at all', async () => {
    await using server = await webServer((_request, response) => {
      response.writeHead(200, { 'Content-Length': 10 * MIB, ETag: '"stalls"' }).write(noise(100));
    });
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({
      code: 'SourceLost',
      message: expect.stringContaining('no byte for'),
    });
    await using silent = await webServer(() => {});
    const patience = { ...IMPATIENT, headTimeout: 50 };
    const job = bench.job({ type: 'http', url: `${silent.url}/disk`, allowPrivateAddresses: true });
    expect(await bench.run(job, { patience })).toMatchObject({
      code: 'SourceLost',
      message: expect.stringContaining('gave no answer within 0.05 s'),
    });
  });

  test.each([403, 404, 410])('%d is final', async (status) => {
    await using server = await webServer((_request, response) => response.writeHead(status).end());
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({ code: 'SourceRefused', retry: false });
    expect(server.requests).toHaveLength(1);
  });

  test('503 is asked again', async () => {
    let busy = 2;
    const good = serve({ content });
    await using server = await webServer((request, response) =>
      busy-- > 0 ? response.writeHead(503, { 'Retry-After': '0' }).end() : good(request, response),
    );
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({ result: 'Succeeded' });
  });

  test('a mover that is told to end does so at once, and keeps what it has', async () => {
    await using server = await webServer((_request, response) => {
      response.writeHead(200, { 'Content-Length': 10 * MIB, ETag: '"stalls"' }).write(noise(3 * MIB));
    });
    const stop = new AbortController();
    const job = bench.job({ type: 'http', url: `${server.url}/disk`, allowPrivateAddresses: true });
    const patience = { ...IMPATIENT, stallTimeout: 60_000, rateWindow: 60_000 };
    setTimeout(() => stop.abort(new Error('told to end')), 300);
    expect(await bench.run(job, { patience, signal: stop.signal })).toMatchObject({ retry: true });
    expect(JSON.parse(bench.read('disk.part.json').toString())).toMatchObject({
      unfinished: { bytes: 3 * MIB },
    });
  });
});

describe('addresses', () => {
  test('inside the cluster are refused, unless that is meant', async () => {
    for (const host of [
      '127.0.0.1',
      '[::1]',
      '169.254.169.254',
      '10.96.0.1',
      '[::ffff:10.0.0.1]',
      '0.0.0.0',
      '2130706433',
    ]) {
      const job = bench.job({
        type: 'http',
        url: `http://${host}:9/latest/meta-data`,
        allowPrivateAddresses: false,
      });
      expect(await bench.run(job), host).toMatchObject({ code: 'SourceForbidden', retry: false });
    }
  });

  test('that count as internal are for the operator to add', () => {
    const guard = AddressGuard.forSource(false, ['203.0.113.0/24']);
    expect(guard.forbids('203.0.113.7')).toBe(true);
    expect(guard.forbids('203.0.114.7')).toBe(false);
    expect(guard.forbids('2606:4700::1111')).toBe(false);
    expect(guard.forbids('64:ff9b::a00:1')).toBe(true);
  });

  /** 127.0.0.1 stands for the internet, 127.0.0.2 for what is inside. */
  const guarded = (url: string, resolve?: ConstructorParameters<typeof AddressGuard>[1]) =>
    new HttpSource(
      { type: 'http', url, allowPrivateAddresses: false },
      {
        watch: new Progress(),
        signal: new AbortController().signal,
        patience: IMPATIENT,
        guard: new AddressGuard(['127.0.0.2/32'], resolve),
      },
    );

  test('a redirect to one of them is refused', async () => {
    await using inside = await webServer(serve({ content }), undefined, '127.0.0.2');
    await using server = await webServer((_request, response) =>
      response.writeHead(302, { Location: `${inside.url}/secret` }).end(),
    );
    await expect(guarded(`${server.url}/disk`).read(0).next()).rejects.toMatchObject({
      code: 'SourceForbidden',
    });
    expect(inside.requests).toEqual([]);
  });

  test('a name that means something else a moment later is connected to where it was checked', async () => {
    await using server = await webServer(serve({ content }));
    const { port } = new URL(server.url);
    let asked = 0;
    const source = guarded(`http://disks.example:${port}/disk`, async () => [
      { address: ++asked === 1 ? '127.0.0.1' : '127.0.0.2', family: 4 },
    ]);
    expect((await source.read(0).next()).done).toBe(false);
    expect(asked).toBe(1);
    expect(server.requests).toHaveLength(1);
    await expect(source.read(0).next()).rejects.toMatchObject({ code: 'SourceForbidden' });
  });

  test.each([
    ['file:///etc/passwd', 'must be http or https'],
    ['ftp://disks.example/disk', 'must be http or https'],
    ['http://ann:secret@disks.example/disk', 'may not hold user and password'],
  ])('%s', async (url, message) => {
    const result = await bench.fetch(url);
    expect(result).toMatchObject({ code: 'SourceRefused', message: expect.stringContaining(message) });
    expect(JSON.stringify(result)).not.toContain('secret@');
  });

  test('redirects end', async () => {
    await using server = await webServer((_request, response) =>
      response.writeHead(301, { Location: '/x' }).end(),
    );
    expect(await bench.fetch(`${server.url}/disk`)).toMatchObject({
      code: 'SourceRefused',
      message: expect.stringContaining('10 redirects'),
    });
  });
});

/** A proxy that carries CONNECT out, or answers otherwise. */
async function tunnels(
  status: number,
  wanted?: string,
): Promise<AsyncDisposable & { url: string; asked: string[] }> {
  const asked: string[] = [];
  const server: Server = createServer((_request, response) => response.writeHead(405).end());
  server.on('connect', (request, client) => {
    client.on('error', () => {});
    const known = request.headers['proxy-authorization'] === wanted;
    if (status !== 200 || !known) {
      client.end(`HTTP/1.1 ${known ? status : 407} No\r\n\r\n`);
      return;
    }
    asked.push(request.url!);
    const [, port] = request.url!.split(':');
    const upstream = connect(Number(port), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on('error', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
