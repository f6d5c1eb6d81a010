/** Connections that come to nothing; the protocol itself is tested with QEMU in test/qemu/qmp.test.ts. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { QmpClient } from './client.ts';

let folder: string;
let path: string;
let server: Server;
let onConnection: (socket: Socket) => void;
const taken: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vmstead-qmp-'));
  path = join(folder, 'qmp.sock');
  server = createServer((socket) => {
    taken.push(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterEach(async () => {
  for (const socket of taken.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

const connecting = (timeout: number) => {
  const closes: unknown[] = [];
  const client = QmpClient.connect(
    path,
    { onEvent: () => {}, onClose: (reason) => closes.push(reason) },
    timeout,
  );
  return { client, closes };
};

test('one that QEMU takes and never greets, as it is ending, fails at once', async () => {
  onConnection = (socket) => socket.end();
  const { client, closes } = connecting(600_000);
  await expect(client).rejects.toMatchObject({ code: 'QmpClosed' });
  expect(closes).toEqual([]);
});

test('one that is lost before it was given is told by the rejection alone', async () => {
  onConnection = (socket) => {
    socket.write('{"QMP":{}}\n');
    socket.once('data', () => socket.destroy());
  };
  const { client, closes } = connecting(600_000);
  await expect(client).rejects.toMatchObject({ code: 'QmpClosed' });
  expect(closes).toEqual([]);
});

test('one that nobody greets is given up, and nobody is told that it was lost', async () => {
  onConnection = () => {};
  const { client, closes } = connecting(50);
  await expect(client).rejects.toMatchObject({ code: 'QmpTimeout' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(closes).toEqual([]);
});

test('one that was given and is lost is told, once', async () => {
  onConnection = (socket) => {
    socket.write('{"QMP":{}}\n');
    socket.once('data', (line) => {
      const { id } = JSON.parse(String(line)) as { id: number };
      socket.write(`{"return":{},"id":${id}}\n`);
    });
  };
  const { client, closes } = connecting(10_000);
  const qmp = await client;
  taken[0]!.destroy();
  await expect.poll(() => closes).toHaveLength(1);
  await expect(qmp.execute('query-status')).rejects.toMatchObject({ code: 'QmpClosed' });
});
