import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import { EventRecorder } from '../../operator/kube/events.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import { type CoreEvent, configmaps, events } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { type FaultyProxy, startFaultyProxy } from './support/faulty-proxy.ts';
import { waitFor } from './support/wait-for.ts';

const namespace = 'default';
const log = pino({ level: 'silent' });
let api: ApiServer;
let proxy: FaultyProxy;
let direct: Transport;
let proxied: Transport;
let client: KubeClient;

beforeAll(async () => {
  api = await startApiServer();
  direct = createTransport(await fromKubeconfig(api.kubeconfigPath), { userAgent: 'vmstead-test' });
  client = createClient(direct);
  await waitFor('namespace default', () =>
    client.create(configmaps, { metadata: { name: 'probe', namespace } }).then(
      () => true,
      () => false,
    ),
  );
  proxy = await startFaultyProxy(api.kubeconfigPath);
  proxied = createTransport(proxy.connection, { userAgent: 'vmstead-test' });
});
afterAll(async () => {
  direct?.close();
  proxied?.close();
  await proxy?.[Symbol.asyncDispose]();
  await api?.stop();
});

const about = (name: string) => ({
  apiVersion: 'vmstead.io/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { namespace, name, uid: `uid-of-${name}` },
});

/** A running recorder; disposing it writes what is left. */
function start(instance: string, intervalMs = 50) {
  const recorder = new EventRecorder({
    client: createClient(proxied),
    component: 'vmstead-operator',
    instance,
    log,
    intervalMs,
  });
  const stop = new AbortController();
  const ended = recorder.run(stop.signal);
  return {
    recorder,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}
const of = (name: string): Promise<readonly CoreEvent[]> =>
  client.list(events, { namespace, fieldSelector: `involvedObject.name=${name}` });

test('the same reason on the same object is one event with a count and the last message', async () => {
  {
    await using running = start('operator-a');
    running.recorder.record(about('web'), 'Normal', 'Started', 'the first');
    await waitFor('the event', async () => (await of('web')).length === 1);
    for (let i = 0; i < 20; i++) running.recorder.record(about('web'), 'Normal', 'Started', `again ${i}`);
    running.recorder.record(about('web'), 'Warning', 'DiskFull', 'no room');
    await waitFor('the count', async () => (await of('web')).some((event) => event.count === 21));
  }
  const all = await of('web');
  expect(all.map(({ reason, count, message, type }) => ({ reason, count, message, type }))).toEqual(
    expect.arrayContaining([
      { reason: 'Started', count: 21, message: 'again 19', type: 'Normal' },
      { reason: 'DiskFull', count: 1, message: 'no room', type: 'Warning' },
    ]),
  );
  expect(all).toHaveLength(2);
  // Twenty records within one interval are no twenty writes.
  expect(
    proxy.requests.filter((line) => line.startsWith('PATCH') && line.includes('events')).length,
  ).toBeLessThan(5);

  // The next operator goes on counting.
  {
    await using running = start('operator-b');
    running.recorder.record(about('web'), 'Normal', 'Started', 'by another operator');
  }
  const started = (await of('web')).filter((event) => event.reason === 'Started');
  expect(started).toEqual([expect.objectContaining({ count: 22, message: 'by another operator' })]);
});

test('an event that has run out is begun anew', async () => {
  await using running = start('operator-a');
  running.recorder.record(about('old'), 'Normal', 'Started', 'one');
  const event = (await waitFor('the event', async () => (await of('old'))[0]))!;
  await client.delete(events, { namespace, name: event.metadata.name });
  running.recorder.record(about('old'), 'Normal', 'Started', 'two');
  await waitFor('the new event', async () => {
    const [next] = await of('old');
    return next !== undefined && next.count === 1 && next.message === 'two';
  });
});

test('recording goes on when the API server is away, and when it refuses an event', async () => {
  await using running = start('operator-a');
  proxy.outage();
  running.recorder.record(about('away'), 'Normal', 'Started', 'lost');
  await new Promise((resolve) => setTimeout(resolve, 200));
  proxy.resume();
  const elsewhere = { ...about('x'), metadata: { namespace: 'no-such-namespace', name: 'x', uid: 'x' } };
  running.recorder.record(elsewhere, 'Normal', 'Started', 'refused');
  running.recorder.record(about('away'), 'Normal', 'Stopped', 'x'.repeat(5000));
  const [event] = await waitFor('the next event', async () => {
    const found = (await of('away')).filter((each) => each.reason === 'Stopped');
    return found.length === 1 ? found : undefined;
  });
  expect(event?.message).toHaveLength(1000);
});
