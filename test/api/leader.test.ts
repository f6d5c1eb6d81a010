import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import { orNotFound } from '../../operator/kube/errors.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import { elect, type Leadership, type LeaderTiming } from '../../operator/kube/leader.ts';
import { leases } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { leadersClient } from '../../operator/standby.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { type FaultyProxy, startFaultyProxy } from './support/faulty-proxy.ts';
import { waitFor } from './support/wait-for.ts';

const namespace = 'default';
const log = pino({ level: 'silent' });
/** A fifth of the real ones, so that the tests do not take a minute each. */
const timing: LeaderTiming = { durationMs: 3_000, renewDeadlineMs: 2_000, renewMs: 500, retryMs: 200 };

let api: ApiServer;
let proxy: FaultyProxy;
const transports: Transport[] = [];
let client: KubeClient;
let proxied: KubeClient;

const open = (connection: Parameters<typeof createTransport>[0]) => {
  const transport = createTransport(connection, { userAgent: 'vmstead-test' });
  transports.push(transport);
  return createClient(transport);
};
const run = (
  identity: string,
  name: string,
  options: { through?: KubeClient; signal?: AbortSignal; timing?: Partial<LeaderTiming> } = {},
): Promise<Leadership | undefined> =>
  elect(
    {
      client: options.through ?? client,
      lease: { namespace, name },
      identity,
      log,
      timing: { ...timing, ...options.timing },
    },
    options.signal ?? new AbortController().signal,
  );
const lease = (name: string) => client.get(leases, { namespace, name });
const settled = async <T>(promise: Promise<T>, ms: number) =>
  await Promise.race([promise.then(() => true), new Promise<false>((r) => setTimeout(() => r(false), ms))]);

beforeAll(async () => {
  api = await startApiServer();
  client = open(await fromKubeconfig(api.kubeconfigPath));
  await waitFor('namespace default', () =>
    client.create(leases, { metadata: { name: 'probe', namespace } }).then(
      () => true,
      () => false,
    ),
  );
  proxy = await startFaultyProxy(api.kubeconfigPath);
  proxied = open(proxy.connection);
});
afterAll(async () => {
  for (const transport of transports) transport.close();
  await proxy?.[Symbol.asyncDispose]();
  await api?.stop();
});

test('of many candidates one leads; released, the lease goes to another at once', async () => {
  const elections = ['a', 'b', 'c', 'd'].map((id) => run(id, 'many'));
  const first = (await Promise.race(elections))!;
  const holder = (await lease('many')).spec?.holderIdentity;
  expect(first.holds()).toBe(true);
  const others = elections.filter((_, i) => ['a', 'b', 'c', 'd'][i] !== holder);
  // Longer than the lease lasts: renewing is what keeps it.
  expect(await settled(Promise.race(others), timing.durationMs + 1_500)).toBe(false);

  const started = performance.now();
  await first.release();
  expect(first.holds()).toBe(false);
  const second = (await Promise.race(others))!;
  expect(performance.now() - started).toBeLessThan(1_000);
  const after = await lease('many');
  expect(after.spec?.holderIdentity).not.toBe(holder);
  expect(after.spec?.leaseTransitions).toBeGreaterThan(0);
  await second.release();
});

test('the lease of a leader that died is taken when it was silent for its duration, not earlier', async () => {
  const dead = (await run('dead', 'died', { through: proxied }))!;
  await waitFor('a renewal', async () => (await lease('died')).metadata.resourceVersion, 2_000);
  const next = run('next', 'died');
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  proxy.outage();
  const started = performance.now();
  expect((await next)!.holds()).toBe(true);
  const took = performance.now() - started;
  expect(took).toBeGreaterThan(timing.durationMs - timing.renewMs - 300);
  expect(took).toBeLessThan(timing.durationMs + 1_500);
  proxy.resume();
  expect(await dead.lost).toMatch(/could not be renewed|taken by next/);
});

test('a leader without the API server gives up before another can take over', async () => {
  const cut = (await run('cut', 'partition', { through: proxied }))!;
  const next = run('next', 'partition');
  await new Promise((resolve) => setTimeout(resolve, 700));
  proxy.outage();
  const lost = cut.lost.then((reason) => ({ reason, at: performance.now() }));
  const taken = next.then(() => performance.now());
  const { reason, at } = await lost;
  expect(reason).toBe('the lease could not be renewed for 2 s');
  expect(at).toBeLessThan(await taken);
  proxy.resume();
  await (await next)!.release();
});

test('a leader that was stopped (SIGSTOP) knows by the clock that it may not write', async () => {
  const stalled = (await run('stalled', 'stalled', { timing: { renewMs: 60_000 } }))!;
  const writes = leadersClient(transports[0]!, stalled);
  const write = (name: string) => writes.create(leases, { metadata: { name, namespace } });
  expect(stalled.holds()).toBe(true);
  await write('written-by-the-leader');
  await new Promise((resolve) => setTimeout(resolve, timing.durationMs));
  expect(stalled.holds()).toBe(false);
  await expect(write('written-too-late')).rejects.toThrow('does not lead any more');
  expect(await orNotFound(lease('written-too-late'))).toBeUndefined();
  await stalled.release();
});

test('an answer that was lost does not lose the lease', async () => {
  const leader = (await run('unlucky', 'lost-answer', { through: proxied }))!;
  let swallowed = 0;
  proxy.fault = (request, response) => {
    if (request.method !== 'PUT' || swallowed > 0) return undefined;
    swallowed++;
    // The write goes through, the connection dies before the answer.
    response.writeHead = (() => {
      response.destroy();
      return response;
    }) as typeof response.writeHead;
    return undefined;
  };
  await waitFor('the lost answer', () => swallowed === 1);
  expect(await settled(leader.lost, timing.renewDeadlineMs + 500)).toBe(false);
  proxy.fault = undefined;
  expect(leader.holds()).toBe(true);
  await leader.release();
});

test.each([
  ['ten minutes ahead', 600_000],
  ['ten minutes behind', -600_000],
])('a holder whose clock is %s keeps its lease', async (_, skew) => {
  const name = `skew-${skew > 0 ? 'ahead' : 'behind'}`;
  const stamp = () => new Date(Date.now() + skew).toISOString().replace('Z', '000Z');
  const spec = { holderIdentity: 'skewed', leaseDurationSeconds: 3, acquireTime: stamp() };
  let held = await client.create(leases, {
    metadata: { name, namespace },
    spec: { ...spec, renewTime: stamp() },
  });
  const next = run('next', name);
  for (let i = 0; i < 10; i++) {
    expect(await settled(next, 500)).toBe(false);
    held = await client.replace(leases, { ...held, spec: { ...spec, renewTime: stamp() } });
  }
  const started = performance.now();
  const leader = (await next)!;
  expect(performance.now() - started).toBeGreaterThan(2_500);
  await leader.release();
});

test('the lease is lost to whoever wrote itself into it, or deleted it', async () => {
  const robbed = (await run('robbed', 'robbed'))!;
  await client.patch(leases, { namespace, name: 'robbed' }, { spec: { holderIdentity: 'thief' } });
  expect(await robbed.lost).toBe('the lease was taken by thief');
  const bereft = (await run('bereft', 'bereft'))!;
  await client.delete(leases, { namespace, name: 'bereft' });
  expect(await bereft.lost).toMatch(/deleted|NotFound|could not be renewed/);
});

test('a candidate waits without asking: the holder’s renewals come by a watch', async () => {
  const leader = (await run('leader', 'quiet'))!;
  const stop = new AbortController();
  const waiting = run('standby', 'quiet', { through: proxied, signal: stop.signal });
  await waitFor('the watch', () =>
    proxy.requests.some((line) => line.includes('watch=1') && line.includes('quiet')),
  );
  const before = proxy.requests.length;
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  expect(proxy.requests.length).toBe(before);
  stop.abort();
  expect(await waiting).toBeUndefined();
  await leader.release();
  expect(await orNotFound(lease('quiet'))).toBeDefined();
});
