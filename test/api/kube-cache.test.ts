import pino from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Cache, type CacheOptions } from '../../operator/kube/cache.ts';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import { noMetrics } from '../../operator/kube/metrics.ts';
import { type ConfigMap, configmaps } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { type FaultyProxy, startFaultyProxy } from './support/faulty-proxy.ts';
import { waitFor } from './support/wait-for.ts';

const namespace = 'default';
const log = pino({ level: 'silent' });
let server: ApiServer;
let proxy: FaultyProxy;
let direct: Transport;
let proxied: Transport;
let client: KubeClient;
let stop = new AbortController();
let running: Promise<void>[] = [];
let restarts: string[] = [];

/** A running cache behind the proxy, of the ConfigMaps with the label `set`. */
function start(set: string, options: Partial<CacheOptions<ConfigMap>> = {}): Cache<ConfigMap> {
  const cache = new Cache(createClient(proxied), configmaps, {
    labelSelector: `set=${set}`,
    log,
    metrics: { ...noMetrics, watchRestart: (_, reason) => restarts.push(reason) },
    ...options,
    timing: { retryMs: [20, 200], ...options.timing },
  });
  running.push(cache.run(stop.signal));
  return cache;
}

const make = (set: string, name: string, data: Record<string, string> = {}) =>
  client.create(configmaps, { metadata: { name, namespace, labels: { set } }, data });
/** Once the LIST is done, the watch may still be on its way. */
const watching = () => waitFor('an open watch', () => proxy.openWatches === 1);

const lists = () => proxy.requests.filter((line) => line.includes('limit=500')).length;

beforeAll(async () => {
  server = await startApiServer();
  direct = createTransport(await fromKubeconfig(server.kubeconfigPath), { userAgent: 'vmstead-test' });
  client = createClient(direct);
  await waitFor('namespace default', () =>
    make('none', 'probe').then(
      () => true,
      () => false,
    ),
  );
  proxy = await startFaultyProxy(server.kubeconfigPath);
  proxied = createTransport(proxy.connection, { userAgent: 'vmstead-test' });
});
afterEach(async () => {
  stop.abort();
  await Promise.all(running);
  running = [];
  restarts = [];
  stop = new AbortController();
  proxy.fault = undefined;
  proxy.resume();
});
afterAll(async () => {
  direct?.close();
  proxied?.close();
  await proxy?.[Symbol.asyncDispose]();
  await server?.stop();
});

describe('a cache', () => {
  test('lists, then follows, and tells of each change once', async () => {
    await make('follow', 'follow-1');
    const cache = start('follow', { indexes: { color: (object) => [object.data?.color] } });
    const told: string[] = [];
    cache.onChange((object, previous, deleted) =>
      told.push(`${deleted ? 'deleted' : previous ? 'changed' : 'new'} ${object.metadata.name}`),
    );
    await cache.synced;
    expect(cache.get('default/follow-1')?.metadata.managedFields).toBeUndefined();

    const ref = { namespace, name: 'follow-2' };
    await make('follow', 'follow-2', { color: 'red' });
    await waitFor('it to come', () => cache.get('default/follow-2'));
    expect(cache.by('color', 'red').map((object) => object.metadata.name)).toEqual(['follow-2']);
    await client.patch(configmaps, ref, { data: { color: 'blue' } });
    await waitFor('its change', () => cache.by('color', 'blue').length === 1);
    expect(cache.by('color', 'red')).toEqual([]);
    await client.delete(configmaps, ref);
    await waitFor('its end', () => cache.get('default/follow-2') === undefined);
    expect(cache.by('color', 'blue')).toEqual([]);
    expect(told).toEqual(['new follow-1', 'new follow-2', 'changed follow-2', 'deleted follow-2']);
    expect(cache.size).toBe(1);
  });

  test('keeps what the projection leaves', async () => {
    await make('project', 'project-1', { big: 'x'.repeat(1000), small: 'y' });
    const cache = start('project', {
      transform: ({ data, ...rest }) => ({ ...rest, data: { small: data?.small ?? '' } }),
    });
    await cache.synced;
    expect(cache.get('default/project-1')?.data).toEqual({ small: 'y' });
  });

  test('a handler that throws harms neither the cache nor the other handlers', async () => {
    const cache = start('throws');
    const seen: string[] = [];
    cache.onChange(() => {
      throw new Error('handler');
    });
    cache.onChange((object) => seen.push(object.metadata.name));
    await cache.synced;
    await make('throws', 'throws-1');
    await waitFor('the change', () => seen.length === 1);
  });

  test('remembers an own write until the watch is past it, and never a deleted object', async () => {
    await make('remember', 'remember-0');
    const cache = start('remember');
    await cache.synced;
    await watching();
    proxy.silenceWatches();
    const made = await make('remember', 'remember-1');
    expect(cache.get('default/remember-1')).toBeUndefined();
    cache.remember(made);
    expect(cache.get('default/remember-1')?.metadata.uid).toBe(made.metadata.uid);

    // Deleted while the watch brings nothing; after a restart of the watch the deletion arrives.
    await client.delete(configmaps, { namespace, name: 'remember-1' });
    proxy.outage();
    proxy.resume();
    await waitFor('the deletion', () => cache.get('default/remember-1') === undefined);
    cache.remember(made);
    expect(cache.get('default/remember-1')).toBeUndefined();
  });
});

describe('a watch that', () => {
  test('is cut begins again where it was', async () => {
    const cache = start('cut');
    await cache.synced;
    const before = lists();
    for (let i = 0; i < 3; i++) {
      proxy.outage();
      await make('cut', `cut-${i}`);
      proxy.resume();
      await waitFor('the object made during the outage', () => cache.get(`default/cut-${i}`));
    }
    expect(lists()).toBe(before);
    expect(restarts).toContain('error');
  });

  test('cannot be opened is tried until it can, through a long outage from the very start', async () => {
    await make('outage', 'outage-1');
    proxy.outage();
    const cache = start('outage');
    const early = await Promise.race([cache.synced.then(() => 'synced'), sleepFor(500)]);
    expect(early).toBe('waited');
    proxy.resume();
    await cache.synced;
    expect(cache.size).toBe(1);
  });

  test('is too far behind is followed by a new list', async () => {
    await make('gone', 'gone-1');
    const cache = start('gone');
    await cache.synced;
    const before = lists();
    proxy.fault = (request, response) => {
      if (!request.url!.includes('watch=1') || lists() > before) return undefined;
      response.writeHead(200, { 'content-type': 'application/json' });
      const status = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
      response.end(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
      return 'handled';
    };
    proxy.outage();
    await client.delete(configmaps, { namespace, name: 'gone-1' });
    await make('gone', 'gone-2');
    proxy.resume();
    await waitFor('the new state', () => cache.get('default/gone-2'));
    expect(cache.get('default/gone-1')).toBeUndefined();
    expect(restarts.filter((reason) => reason === 'expired')).toHaveLength(1);
  });

  test('sends a line that is no event is followed by a new list, and the line is counted', async () => {
    let bad = 0;
    const cache = start('bad', {
      metrics: {
        ...noMetrics,
        badLine: () => bad++,
        watchRestart: (_, reason) => restarts.push(reason),
      },
    });
    await cache.synced;
    await watching();
    const before = lists();
    proxy.intoWatches('{"type":"ADDED","object"\n');
    await waitFor('the line', () => bad === 1);
    await make('bad', 'bad-1');
    await waitFor('the next object', () => cache.get('default/bad-1'));
    expect(restarts).toContain('bad-line');
    expect(lists()).toBe(before + 1);
  });

  test('falls silent is cut and begun again', async () => {
    const cache = start('silent', { timing: { silentAfterMs: 1_000 } });
    await cache.synced;
    await watching();
    for (let i = 0; i < 6; i++) {
      await make('silent', `silent-${i}`);
      await sleepFor(250);
    }
    expect(cache.size).toBe(6);
    expect(restarts).toEqual([]);
    proxy.silenceWatches();
    await make('silent', 'silent-last');
    await waitFor('what the half-open watch did not bring', () => cache.get('default/silent-last'));
    expect(restarts).toContain('silent');
  });

  test('the server ends in good order goes on without a pause', async () => {
    const cache = start('ends', { timing: { timeoutSeconds: [1, 1] } });
    await cache.synced;
    await waitFor('three watches', () => restarts.filter((reason) => reason === 'timeout').length >= 3);
    await make('ends', 'ends-1');
    await waitFor('the object', () => cache.get('default/ends-1'));
    expect(restarts.filter((reason) => reason !== 'timeout')).toEqual([]);
  });
});

test('bookmarks carry a quiet watch forward, so that its place does not grow old', async () => {
  const cache = start('quiet');
  await cache.synced;
  await watching();
  // The server sends one about once a minute; here it is given the place of a change that the watch does not see.
  const { resourceVersion } = (await make('loud', 'loud-1')).metadata;
  proxy.intoWatches(
    `${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'ConfigMap', metadata: { resourceVersion } } })}\n`,
  );
  await sleepFor(100);
  proxy.outage();
  proxy.resume();
  await waitFor('a watch from there', () =>
    proxy.requests.some(
      (line) => line.includes('quiet') && line.includes(`resourceVersion=${resourceVersion}&`),
    ),
  );
  expect(cache.size).toBe(0);
});

async function sleepFor(ms: number): Promise<'waited'> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return 'waited';
}
