import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { bundle } from '../../images/bundle.ts';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import { orNotFound } from '../../operator/kube/errors.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import type { KubeObject } from '../../operator/kube/object.ts';
import { define, endpointslices, leases, secrets } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { waitFor } from './support/wait-for.ts';

const root = join(import.meta.dirname, '../..');
const namespace = 'vmstead-system';
const name = 'vmstead-operator';
/** Below the checkout, so that it finds client-node for the kubeconfig. */
const program = join(root, '.vmstead/test/operator.cjs');
const namespaces = define<KubeObject>('v1', 'Namespace', 'namespaces', 'Cluster');
const crds = define<KubeObject>(
  'apiextensions.k8s.io/v1',
  'CustomResourceDefinition',
  'customresourcedefinitions',
  'Cluster',
);

let api: ApiServer;
let transport: Transport;
let client: KubeClient;
const started: Replica[] = [];

/** One operator process, of the bundle that the image has. */
class Replica {
  readonly name: string;
  readonly port: number;
  readonly process: ChildProcess;
  readonly exited: Promise<unknown[]>;
  output = '';

  constructor(podName: string, port: number, podIP: string, env: Record<string, string> = {}) {
    this.name = podName;
    this.port = port;
    this.process = spawn(process.execPath, [program], {
      env: {
        PATH: process.env.PATH,
        KUBECONFIG: api.kubeconfigPath,
        POD_NAME: podName,
        POD_NAMESPACE: namespace,
        POD_IP: podIP,
        VMSTEAD_LAUNCHER_IMAGE: 'vmstead/launcher:test',
        VMSTEAD_HTTP_PORT: String(port),
        VMSTEAD_CHANNEL_PORT: String(port + 100),
        ...env,
      },
    });
    this.exited = once(this.process, 'exit');
    for (const stream of [this.process.stdout!, this.process.stderr!]) {
      stream.on('data', (chunk) => {
        this.output += chunk;
      });
    }
    started.push(this);
  }

  async ask(path: string): Promise<{ status: number; body: string }> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`);
    return { status: response.status, body: await response.text() };
  }

  async leads(): Promise<boolean> {
    const answer = await this.ask('/metrics').catch(() => undefined);
    const ready = await this.ask('/readyz').catch(() => undefined);
    return answer?.body.includes('\nvmstead_operator_leader 1\n') === true && ready?.status === 200;
  }

  get lines(): { level: string; message: string; reason?: string }[] {
    return this.output
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }
}

const holder = async () => (await client.get(leases, { namespace, name })).spec?.holderIdentity;
const leaderAddress = async () =>
  (await client.get(endpointslices, { namespace, name })).endpoints?.[0]?.addresses?.[0];

beforeAll(async () => {
  mkdirSync(join(root, '.vmstead/test'), { recursive: true });
  writeFileSync(program, (await bundle('operator/main.ts')).code);
  api = await startApiServer();
  transport = createTransport(await fromKubeconfig(api.kubeconfigPath), { userAgent: 'vmstead-test' });
  client = createClient(transport);
  await waitFor('the namespace', () =>
    client.create(namespaces, { metadata: { name: namespace } }).then(
      () => true,
      () => false,
    ),
  );
  const folder = join(root, 'crds/generated');
  for (const file of readdirSync(folder)) {
    await client.create(crds, parse(readFileSync(join(folder, file), 'utf8')));
  }
});
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') {
    for (const replica of started) console.log(`${replica.name} said:\n${replica.output}`);
  }
  for (const replica of started.splice(0)) {
    replica.process.kill('SIGKILL');
    await replica.exited;
  }
  // So that the next test need not wait until it runs out.
  await orNotFound(client.delete(leases, { namespace, name }));
});
afterAll(async () => {
  transport?.close();
  await api?.stop();
});

test('two replicas: one leads, idles cheaply, and hands over when it is asked to stop', {
  timeout: 120_000,
}, async () => {
  const a = new Replica('operator-a', 18_310, '10.0.0.1');
  await waitFor('a to lead', () => a.leads(), 30_000);
  const b = new Replica('operator-b', 18_311, '10.0.0.2');
  await waitFor(
    'b to wait',
    async () => (await b.ask('/readyz').catch(() => undefined))?.status === 200,
    20_000,
  );
  expect(await b.leads()).toBe(false);
  expect(await holder()).toMatch(/^operator-a_/);
  expect(await leaderAddress()).toBe('10.0.0.1');
  const secret = await client.get(secrets, { namespace, name: 'vmstead-channel' });
  expect(Object.keys(secret.data ?? {}).sort()).toEqual(['ca.crt', 'ca.key', 'tls.crt', 'tls.key']);

  const requests = () =>
    readFileSync(api.auditLogPath, 'utf8')
      .split('\n')
      .filter((line) => line.includes('"userAgent":"vmstead-operator/') && line.includes('ResponseComplete'))
      .length;
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const before = requests();
  await new Promise((resolve) => setTimeout(resolve, 20_000));
  // Both replicas together, elections and all: the goal is 20 a minute.
  expect(requests() - before).toBeLessThanOrEqual(6);

  const asked = performance.now();
  a.process.kill('SIGTERM');
  await waitFor('b to lead', () => b.leads(), 10_000);
  expect(performance.now() - asked).toBeLessThan(6_000);
  expect(await a.exited).toEqual([0, null]);
  expect(a.lines.filter((line) => line.level !== 'info')).toEqual([]);
  expect(await leaderAddress()).toBe('10.0.0.2');
});

test('a leader that is stopped for longer than its lease ends itself when it goes on', {
  timeout: 120_000,
}, async () => {
  const a = new Replica('operator-a', 18_320, '10.0.0.1');
  await waitFor('a to lead', () => a.leads(), 30_000);
  const b = new Replica('operator-b', 18_321, '10.0.0.2');
  await waitFor(
    'b to wait',
    async () => (await b.ask('/readyz').catch(() => undefined))?.status === 200,
    20_000,
  );
  a.process.kill('SIGSTOP');
  const stopped = performance.now();
  // Its lease lasts for 30 s.
  await waitFor('b to lead', () => b.leads(), 60_000);
  expect(performance.now() - stopped).toBeGreaterThan(9_000);
  a.process.kill('SIGCONT');
  expect(await a.exited).toEqual([1, null]);
  expect(a.lines.at(-1)).toMatchObject({ level: 'fatal', message: 'leadership lost; exiting' });
  expect(await leaderAddress()).toBe('10.0.0.2');
});

test('killed after it has made its certificate, the next process goes on with that one', {
  timeout: 120_000,
}, async () => {
  await orNotFound(client.delete(secrets, { namespace, name: 'vmstead-channel' }));
  const a = new Replica('operator-a', 18_330, '10.0.0.1', {
    VMSTEAD_FAILPOINTS: 'api:create:secrets=kill@after',
  });
  expect(await a.exited).toEqual([null, 'SIGKILL']);
  const made = await client.get(secrets, { namespace, name: 'vmstead-channel' });
  const b = new Replica('operator-a', 18_331, '10.0.0.1');
  await waitFor('b to lead', () => b.leads(), 60_000);
  const kept = await client.get(secrets, { namespace, name: 'vmstead-channel' });
  expect(kept.data).toEqual(made.data);
});

test('without its environment it says what is missing', async () => {
  const a = new Replica('', 18_340, '');
  expect(await a.exited).toEqual([1, null]);
  expect(a.lines.at(-1)?.message).toContain(
    'POD_NAME is not set; POD_IP is not set (the Helm chart sets it)',
  );
});
