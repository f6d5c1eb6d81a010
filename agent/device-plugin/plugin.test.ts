/** The plugin before a kubelet's side written with gRPC's own implementation. */
import { access, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fields } from '../grpc/protobuf.ts';
import { createLog } from '../log.ts';
import { METHOD } from './messages.ts';
import { DevicePlugin } from './plugin.ts';

const same = (data: Buffer) => data;
const RESOURCE = 'vmstead.io/kvm';
let directory: string;
let stop: AbortController;
let plugin: DevicePlugin;
let running: Promise<void>;
const closers: (() => void)[] = [];

/** Takes registrations, as the kubelet does: at once it watches the devices. */
async function startKubelet() {
  const registrations: string[][] = [];
  const lists: string[][] = [];
  const server = new Server();
  const answer = (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) => {
    const [version, endpoint, resource] = fields(call.request).map(({ value }) => String(value));
    registrations.push([version!, resource!]);
    done(null, Buffer.alloc(0));
    const client = new Client(`unix:${join(directory, endpoint!)}`, credentials.createInsecure());
    closers.push(() => client.close());
    const stream = client.makeServerStreamRequest(METHOD.listAndWatch, same, same, Buffer.alloc(0));
    stream.on('error', () => {});
    stream.on('data', (data: Buffer) => {
      lists.push(
        fields(data).map(({ value }) =>
          fields(value as Buffer)
            .map((each) => String(each.value))
            .join(),
        ),
      );
    });
  };
  server.addService(
    {
      Register: {
        path: METHOD.register,
        requestStream: false,
        responseStream: false,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    { Register: answer },
  );
  await new Promise<void>((resolve, reject) => {
    const address = `unix:${join(directory, 'kubelet.sock')}`;
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return { registrations, lists, end: () => server.forceShutdown() };
}

async function until(what: () => boolean): Promise<void> {
  for (const end = Date.now() + 5000; !what(); await sleep(10)) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
  }
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vmstead-plugins-'));
  stop = new AbortController();
  plugin = new DevicePlugin({
    directory,
    socket: 'vmstead-kvm.sock',
    resource: RESOURCE,
    slots: 2,
    node: { hostPath: '/var/lib/vmstead/devices/kvm', containerPath: '/dev/kvm', permissions: 'rw' },
    log: createLog('test', 'error'),
  });
  running = plugin.run(stop.signal);
});
afterEach(async () => {
  stop.abort();
  for (const close of closers.splice(0)) close();
  await running;
  await rm(directory, { recursive: true, force: true });
});

it('waits for a kubelet, registers, and tells it when the device stops working', async () => {
  await sleep(50);
  expect(plugin.registered).toBe(false);
  const kubelet = await startKubelet();
  closers.push(kubelet.end);
  await until(() => kubelet.lists.length === 1);
  expect(kubelet.registrations).toEqual([['v1beta1', RESOURCE]]);
  expect(plugin.registered).toBe(true);
  expect(kubelet.lists[0]).toEqual(['0,Healthy', '1,Healthy']);
  plugin.setHealthy(false);
  await until(() => kubelet.lists.length === 2);
  expect(kubelet.lists[1]).toEqual(['0,Unhealthy', '1,Unhealthy']);
  // Said twice, it is news once.
  plugin.setHealthy(false);
  plugin.setHealthy(true);
  await until(() => kubelet.lists.length === 3);
  expect(kubelet.lists[2]).toEqual(['0,Healthy', '1,Healthy']);
});

it('registers again with a kubelet that was restarted and has emptied its folder', async () => {
  const first = await startKubelet();
  await until(() => first.lists.length === 1);
  first.end();
  for (const name of ['kubelet.sock', 'vmstead-kvm.sock']) await rm(join(directory, name), { force: true });
  await until(() => !plugin.registered);
  const second = await startKubelet();
  closers.push(second.end);
  await until(() => second.lists.length === 1);
  expect(second.registrations).toEqual([['v1beta1', RESOURCE]]);
  expect(plugin.registrations).toBe(2);
});

it('tries a kubelet that hangs up again and again, but ever more slowly', async () => {
  let calls = 0;
  const server = createServer((socket) => {
    calls++;
    socket.destroy();
  });
  server.listen(join(directory, 'kubelet.sock'));
  closers.push(() => server.close());
  await until(() => calls === 2);
  await sleep(1000);
  // After 0.2, 0.6 and 1.4 s.
  expect(calls).toBeGreaterThan(2);
  expect(calls).toBeLessThan(6);
  expect(plugin.registered).toBe(false);
});

it("hands each container the agent's device node", async () => {
  const kubelet = await startKubelet();
  closers.push(kubelet.end);
  await until(() => kubelet.lists.length === 1);
  const client = new Client(`unix:${join(directory, 'vmstead-kvm.sock')}`, credentials.createInsecure());
  closers.push(() => client.close());
  // Two containers, with slots 0 and 1.
  const request = Buffer.from([0x0a, 3, 0x0a, 1, 0x30, 0x0a, 3, 0x0a, 1, 0x31]);
  const answer = await new Promise<Buffer>((resolve, reject) => {
    client.makeUnaryRequest(METHOD.allocate, same, same, request, (error, data) =>
      error ? reject(error) : resolve(data!),
    );
  });
  const containers = fields(answer);
  expect(containers).toHaveLength(2);
  for (const container of containers) {
    const [device, ...more] = fields(container.value as Buffer);
    expect(more).toEqual([]);
    expect(device?.number).toBe(3);
    expect(fields(device?.value as Buffer).map(({ number, value }) => [number, String(value)])).toEqual([
      [1, '/dev/kvm'],
      [2, '/var/lib/vmstead/devices/kvm'],
      [3, 'rw'],
    ]);
  }
});

it('takes its socket away when it ends', async () => {
  const kubelet = await startKubelet();
  closers.push(kubelet.end);
  await until(() => plugin.registered);
  stop.abort();
  for (const close of closers.splice(0)) close();
  await running;
  await expect(access(join(directory, 'vmstead-kvm.sock'))).rejects.toThrow('ENOENT');
});
