import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import {
  ApiError,
  isAlreadyExists,
  isConflict,
  isForbidden,
  isInvalid,
  isNotFound,
  orNotFound,
  TransportError,
} from '../../operator/kube/errors.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import { configmaps, pods, secrets } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { type FaultyProxy, startFaultyProxy } from './support/faulty-proxy.ts';
import { waitFor } from './support/wait-for.ts';

const userAgent = 'vmstead-test/1';
const namespace = 'default';
let server: ApiServer;
let transport: Transport;
let client: KubeClient;
let proxy: FaultyProxy;
let proxied: KubeClient;
let proxiedTransport: Transport;

const caught = async (promise: Promise<unknown>): Promise<Error> => {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not throw');
};

beforeAll(async () => {
  server = await startApiServer();
  transport = createTransport(await fromKubeconfig(server.kubeconfigPath), { userAgent });
  client = createClient(transport);
  await waitFor('the default namespace', () =>
    client.list(configmaps, { namespace }).then(
      () => true,
      () => false,
    ),
  );
  await waitFor('namespace default', async () => {
    const made = client.create(configmaps, { metadata: { name: 'probe', namespace } });
    return made.then(
      () => true,
      () => false,
    );
  });
  proxy = await startFaultyProxy(server.kubeconfigPath);
  proxiedTransport = createTransport(proxy.connection, { userAgent });
  proxied = createClient(proxiedTransport);
});
afterAll(async () => {
  transport?.close();
  proxiedTransport?.close();
  await proxy?.[Symbol.asyncDispose]();
  await server?.stop();
});

describe('objects', () => {
  test('are created, read, replaced, patched, applied and deleted', async () => {
    const ref = { namespace, name: 'life' };
    const created = await client.create(configmaps, { metadata: ref, data: { a: '1' } });
    expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);

    const replaced = await client.replace(configmaps, { ...created, data: { a: '2' } });
    expect(replaced.data).toEqual({ a: '2' });
    const stale = await caught(client.replace(configmaps, { ...created, data: { a: '3' } }));
    expect(isConflict(stale), stale.message).toBe(true);

    await client.patch(configmaps, ref, { data: { b: '1' } });
    const applied = await client.apply(
      configmaps,
      { metadata: ref, data: { c: '1' } },
      { fieldManager: 'vmstead-test' },
    );
    expect(applied.data).toEqual({ a: '2', b: '1', c: '1' });
    // What the manager no longer says is gone, what others said stays.
    const again = await client.apply(configmaps, { metadata: ref }, { fieldManager: 'vmstead-test' });
    expect(again.data).toEqual({ a: '2', b: '1' });

    const refused = await waitFor('the refusal in the audit log', () => {
      const lines = readFileSync(server.auditLogPath, 'utf8').split('\n');
      return lines.find((line) => line.includes(`"auditID":"${(stale as ApiError).requestId}"`));
    });
    expect(JSON.parse(refused)).toMatchObject({ verb: 'update', objectRef: { name: 'life' } });

    await client.delete(configmaps, ref, { uid: created.metadata.uid });
    expect(await orNotFound(client.get(configmaps, ref))).toBeUndefined();
  });

  test('have a status that is applied by itself', async () => {
    const ref = { namespace, name: 'with-status' };
    await client.create(pods, {
      metadata: ref,
      spec: { containers: [{ name: 'main', image: 'none' }] },
    });
    const condition = { type: 'vmstead.io/Tested', status: 'True', reason: 'Test' };
    const pod = await client.apply(
      pods,
      { metadata: ref, status: { conditions: [condition] } },
      { fieldManager: 'vmstead-test', subresource: 'status' },
    );
    expect(pod.status?.conditions).toEqual([expect.objectContaining(condition)]);
  });

  test('are listed page by page beyond 500', async () => {
    const names = Array.from({ length: 620 }, (_, i) => `many-${i}`);
    for (let i = 0; i < names.length; i += 40) {
      await Promise.all(
        names
          .slice(i, i + 40)
          .map((name) =>
            client.create(configmaps, { metadata: { name, namespace, labels: { many: 'yes' } } }),
          ),
      );
    }
    const sizes: number[] = [];
    for await (const page of client.pages(configmaps, { namespace, labelSelector: 'many=yes' })) {
      sizes.push(page.items.length);
      expect(page.resourceVersion).toMatch(/^\d+$/);
    }
    expect(sizes).toEqual([500, 120]);
    expect(await client.list(configmaps, { labelSelector: 'many' })).toHaveLength(620);
  });
});

describe('errors', () => {
  test('tell which it is, about which object', async () => {
    const ref = { namespace, name: 'errors' };
    const missing = await caught(client.get(configmaps, ref));
    expect(isNotFound(missing)).toBe(true);
    expect(missing.message).toBe(
      'GET /api/v1/namespaces/default/configmaps/errors: configmaps "errors" not found (404)',
    );
    expect((missing as ApiError).details).toMatchObject({ name: 'errors', kind: 'configmaps' });

    await client.create(configmaps, { metadata: ref });
    expect(isAlreadyExists(await caught(client.create(configmaps, { metadata: ref })))).toBe(true);
    expect(isConflict(await caught(client.create(configmaps, { metadata: ref })))).toBe(false);
    const bad = await caught(client.create(configmaps, { metadata: { name: 'UPPER', namespace } }));
    expect(isInvalid(bad)).toBe(true);
    expect((bad as ApiError).details?.causes?.[0]?.field).toBe('metadata.name');
  });

  test('a delete with another UID deletes nothing', async () => {
    const ref = { namespace, name: 'uid' };
    await client.create(configmaps, { metadata: ref });
    const error = await caught(
      client.delete(configmaps, ref, { uid: '00000000-0000-0000-0000-000000000000' }),
    );
    expect(isConflict(error), error.message).toBe(true);
    expect(await client.get(configmaps, ref)).toBeDefined();
  });

  test('rights that are missing are Forbidden', async () => {
    const config = await server.kubeconfigFor('nobody-special');
    const other = createTransport(await fromKubeconfig(config), { userAgent });
    const error = await caught(createClient(other).list(secrets, { namespace }));
    expect(isForbidden(error), error.message).toBe(true);
    other.close();
  });

  test('unknown fields are refused when asked for', async () => {
    const draft = { metadata: { name: 'strict', namespace }, dat: { a: '1' } };
    const error = await caught(client.create(configmaps, draft, { strict: true, dryRun: true }));
    expect(error.message).toContain('unknown field "dat"');
  });

  test('a client that may not write does not', async () => {
    const guarded = createClient(transport, {
      mayWrite: () => {
        throw new Error('not leader');
      },
    });
    const ref = { namespace, name: 'guarded' };
    await expect(guarded.create(configmaps, { metadata: ref })).rejects.toThrow('not leader');
    expect(await orNotFound(guarded.get(configmaps, ref))).toBeUndefined();
  });
});

describe('transport', () => {
  test('keeps one connection for requests one after another, and names itself', async () => {
    const before = proxy.connections;
    let agent: string | undefined;
    proxy.fault = (request) => {
      agent = request.headers['user-agent'];
      return undefined;
    };
    for (let i = 0; i < 50; i++) await proxied.get(configmaps, { namespace, name: 'probe' });
    proxy.fault = undefined;
    expect(proxy.connections - before).toBeLessThanOrEqual(1);
    expect(agent).toBe(userAgent);
  });

  test('a GET takes little time', async () => {
    const times: number[] = [];
    for (let i = 0; i < 400; i++) {
      const started = performance.now();
      await client.get(configmaps, { namespace, name: 'probe' });
      times.push(performance.now() - started);
    }
    const median = times.sort((a, b) => a - b)[200]!;
    console.log(`GET of a small object: median ${median.toFixed(2)} ms`);
    // One TLS connection for each request takes 5 to 7 ms; the machine may be busy.
    expect(median).toBeLessThan(3);
  });

  test('does as a busy server says: again later', async () => {
    let refusals = 2;
    proxy.fault = (_, response) => {
      if (refusals-- <= 0) return undefined;
      response.writeHead(429, { 'retry-after': '0', 'content-type': 'text/plain' });
      response.end('Too many requests, please try again later.');
      return 'handled';
    };
    const made = await proxied.create(configmaps, { metadata: { name: 'later', namespace } });
    proxy.fault = undefined;
    expect(made.metadata.name).toBe('later');
  });

  test('gives up when "later" is later than the deadline', async () => {
    proxy.fault = (_, response) => {
      response.writeHead(503, { 'retry-after': '60' });
      response.end('starting');
      return 'handled';
    };
    const started = performance.now();
    const error = await caught(proxied.get(configmaps, { namespace, name: 'probe' }, { deadlineMs: 300 }));
    proxy.fault = undefined;
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ code: 503, statusMessage: 'starting' });
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test('a server that does not answer meets the deadline', async () => {
    proxy.fault = () => 'handled';
    const error = await caught(proxied.get(configmaps, { namespace, name: 'probe' }, { deadlineMs: 200 }));
    proxy.fault = undefined;
    expect(error).toBeInstanceOf(TransportError);
    expect(error.message).toBe('GET /api/v1/namespaces/default/configmaps/probe: no answer within 0.2 s');
  });

  test('an answer that stops half way meets the deadline too', async () => {
    proxy.fault = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"kind":');
      return 'handled';
    };
    const error = await caught(proxied.get(configmaps, { namespace, name: 'probe' }, { deadlineMs: 200 }));
    proxy.fault = undefined;
    expect(error).toMatchObject({ code: 'DEADLINE' });
  });

  test('an answer that is no JSON is said to be so', async () => {
    proxy.fault = (_, response) => {
      response.end('<html>sign in</html>');
      return 'handled';
    };
    const error = await caught(proxied.get(configmaps, { namespace, name: 'probe' }));
    proxy.fault = undefined;
    expect(error).toMatchObject({ code: 'NOT_JSON' });
    expect(error.message).toContain('<html>sign in</html>');
  });

  test('a read goes on over a fresh connection when the idle one was cut', async () => {
    await proxied.get(configmaps, { namespace, name: 'probe' });
    proxy.outage();
    proxy.resume();
    await expect(proxied.get(configmaps, { namespace, name: 'probe' })).resolves.toBeDefined();
  });

  test('an outage is a TransportError, and over when it is over', async () => {
    proxy.outage();
    const error = await caught(proxied.get(configmaps, { namespace, name: 'probe' }));
    proxy.resume();
    expect(error).toBeInstanceOf(TransportError);
    await expect(proxied.get(configmaps, { namespace, name: 'probe' })).resolves.toBeDefined();
  });

  test('an abort ends a request at once', async () => {
    proxy.fault = () => 'handled';
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const error = await caught(
      proxied.get(configmaps, { namespace, name: 'probe' }, { signal: controller.signal }),
    );
    proxy.fault = undefined;
    expect(error).toMatchObject({ code: 'ABORTED' });
  });
});
