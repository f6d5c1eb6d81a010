/** Client and server of ours against each other and against gRPC's own implementation. */
import { mkdtemp, rm } from 'node:fs/promises';
import type { Http2Server } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callGrpc } from './client.ts';
import { FrameReader, frame, GrpcError } from './frames.ts';
import { serveGrpc } from './server.ts';

const same = (data: Buffer) => data;
let directory: string;
let socket: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vmstead-grpc-'));
  socket = join(directory, 'test.sock');
});
afterEach(() => rm(directory, { recursive: true }));

describe('frames', () => {
  it('come out whole, however the stream is cut', () => {
    const bytes = Buffer.concat([
      frame(Buffer.from('one')),
      frame(Buffer.alloc(0)),
      frame(Buffer.from('three')),
    ]);
    for (const size of [1, 2, 7, 100]) {
      const reader = new FrameReader();
      const found: string[] = [];
      for (let at = 0; at < bytes.length; at += size) {
        found.push(...reader.push(bytes.subarray(at, at + size)).map(String));
      }
      expect(found).toEqual(['one', '', 'three']);
    }
  });

  it('are refused when compressed or absurdly long', () => {
    expect(() => new FrameReader().push(Uint8Array.from([1, 0, 0, 0, 0]))).toThrow('compressed');
    expect(() => new FrameReader().push(Uint8Array.from([0, 0xff, 0, 0, 0]))).toThrow('4278190080 bytes');
  });
});

describe('the server, asked by @grpc/grpc-js', () => {
  let server: Http2Server;
  let client: Client;
  let closed: Promise<void>;
  beforeEach(async () => {
    let close = () => {};
    closed = new Promise((resolve) => {
      close = resolve;
    });
    server = await serveGrpc(
      socket,
      {
        unary: {
          '/t/Echo': (request) => request,
          '/t/Fail': () => {
            throw new GrpcError(3, 'not so: 50 % — ä');
          },
        },
        stream: {
          '/t/Count': (_request, send, signal) => {
            for (const word of ['a', 'b']) send(Buffer.from(word));
            signal.addEventListener('abort', close);
          },
        },
      },
      () => {},
    );
    client = new Client(`unix:${socket}`, credentials.createInsecure());
  });
  afterEach(() => {
    client.close();
    server.close();
  });
  const unary = (path: string, text: string) =>
    new Promise<string>((resolve, reject) => {
      client.makeUnaryRequest(path, same, same, Buffer.from(text), (error, answer) =>
        error ? reject(error) : resolve(String(answer)),
      );
    });

  it('answers a call', async () => {
    const long = 'x'.repeat(100_000);
    expect(await unary('/t/Echo', long)).toBe(long);
  });

  it('answers with an error, and to a method that it does not have', async () => {
    await expect(unary('/t/Fail', '')).rejects.toMatchObject({ code: 3, details: 'not so: 50 % — ä' });
    await expect(unary('/t/None', '')).rejects.toMatchObject({ code: 12, details: 'no method /t/None' });
  });

  it('streams until the client leaves', async () => {
    const stream = client.makeServerStreamRequest('/t/Count', same, same, Buffer.alloc(0));
    stream.on('error', () => {});
    const words: string[] = [];
    await new Promise<void>((resolve) => {
      stream.on('data', (data) => {
        words.push(String(data));
        if (words.length === 2) resolve();
      });
    });
    expect(words).toEqual(['a', 'b']);
    stream.cancel();
    await closed;
  });
});

describe('the client, asking @grpc/grpc-js', () => {
  let server: Server;
  beforeEach(async () => {
    server = new Server();
    const method = (path: string) => ({
      path,
      requestStream: false as const,
      responseStream: false as const,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    });
    server.addService(
      { Echo: method('/t/Echo'), Fail: method('/t/Fail'), Hang: method('/t/Hang') },
      {
        Echo: (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) =>
          done(null, call.request),
        Fail: (_call: unknown, done: (error: object) => void) => done({ code: 7, details: 'no, 50 %' }),
        Hang: () => {},
      },
    );
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
  });
  afterEach(() => server.forceShutdown());

  it('gets an answer', async () => {
    expect(String(await callGrpc(socket, '/t/Echo', Buffer.from('hello'), 5000))).toBe('hello');
  });

  it("gets the server's error", async () => {
    await expect(callGrpc(socket, '/t/Fail', Buffer.alloc(0), 5000)).rejects.toMatchObject({
      code: 7,
      message: expect.stringContaining('no, 50 %'),
    });
  });

  it('does not wait for ever, and says which socket is silent or missing', async () => {
    await expect(callGrpc(socket, '/t/Hang', Buffer.alloc(0), 50)).rejects.toThrow('no answer in 50 ms');
    const missing = join(directory, 'missing.sock');
    await expect(callGrpc(missing, '/t/Echo', Buffer.alloc(0), 5000)).rejects.toThrow(missing);
  });
});
