import { X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import type { Duplex } from 'node:stream';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHANNEL_PATH, CHANNEL_PROTOCOL } from '../../crds/channel.ts';
import { type ChannelCertificate, ensureCertificate } from '../../operator/channel/certificate.ts';
import { publishLeader } from '../../operator/channel/endpoint-slice.ts';
import { Exporters } from '../../operator/channel/exporters.ts';
import { authorizer } from '../../operator/channel/identity.ts';
import { MoverRegistry } from '../../operator/channel/movers.ts';
import { LauncherRegistry } from '../../operator/channel/registry.ts';
import { ChannelServer } from '../../operator/channel/server.ts';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import { orNotFound } from '../../operator/kube/errors.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import { endpointslices, type Pod, pods, secrets } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { type FaultyProxy, startFaultyProxy } from './support/faulty-proxy.ts';
import { createLauncherPod, serviceaccounts, tokenFor } from './support/pods.ts';
import { waitFor } from './support/wait-for.ts';

const namespace = 'default';
const serverName = 'vmstead-operator.default.svc';
const log = pino({ level: 'silent' });
const hello = { type: 'hello', protocol: 1, launcherVersion: '0.1.0', incarnation: 1, restarts: 0 };

let api: ApiServer;
let proxy: FaultyProxy;
let direct: Transport;
let proxied: Transport;
let client: KubeClient;
let certificate: ChannelCertificate;
let registry: LauncherRegistry;
let server: ChannelServer;
let port: number;
let leads = true;

interface Answer {
  readonly status: number;
  readonly body?: { readonly code: string; readonly message: string };
  readonly socket?: Duplex;
}

/** Dials as a launcher does. */
function dial(
  token: string | undefined,
  options: { path?: string; protocol?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: '127.0.0.1',
      port,
      ca: certificate.authority,
      servername: serverName,
      path: options.path ?? CHANNEL_PATH,
      agent: false,
      headers: {
        connection: 'Upgrade',
        upgrade: options.protocol ?? CHANNEL_PROTOCOL,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
    });
    outgoing.on('error', reject);
    outgoing.on('upgrade', (response, socket) => {
      socket.on('error', () => {});
      resolve({ status: response.statusCode!, socket });
    });
    outgoing.on('response', async (response) => {
      const text = (await response.toArray()).join('');
      resolve({ status: response.statusCode!, body: JSON.parse(text) });
    });
    outgoing.end();
  });
}

const launcherPod = (name: string): Promise<Pod> => createLauncherPod(client, namespace, 'web', name);

beforeAll(async () => {
  api = await startApiServer();
  direct = createTransport(await fromKubeconfig(api.kubeconfigPath), { userAgent: 'vmstead-test' });
  client = createClient(direct);
  await waitFor('namespace default', () =>
    client.create(serviceaccounts, { metadata: { name: 'default', namespace } }).then(
      () => true,
      () => false,
    ),
  );
  proxy = await startFaultyProxy(api.kubeconfigPath);
  proxied = createTransport(proxy.connection, { userAgent: 'vmstead-test' });
  certificate = await ensureCertificate({
    client,
    secret: { namespace, name: 'vmstead-channel' },
    dnsNames: [serverName],
    log,
  });
  registry = new LauncherRegistry({ log });
  const operator = createClient(proxied);
  const authorize = authorizer(operator, () => undefined);
  server = new ChannelServer({
    client: operator,
    certificate,
    registry,
    movers: new MoverRegistry(log),
    exporters: new Exporters(log, () => '0'.repeat(64)),
    authorize,
    ready: () => leads,
    log,
  });
  port = await server.listen(0, '127.0.0.1');
});
afterAll(async () => {
  server?.close();
  direct?.close();
  proxied?.close();
  await proxy?.[Symbol.asyncDispose]();
  await api?.stop();
});

describe('a launcher that dials', () => {
  test('with its pod’s token is let in, as that pod', async () => {
    const pod = await launcherPod('vm-web-1');
    const { status, socket } = await dial(await tokenFor(client, pod));
    expect(status).toBe(101);
    socket!.write(`${JSON.stringify(hello)}\n{"type":"report","report":{"state":"Running"}}\n`);
    const known = await waitFor('its report', () => {
      const connection = registry.get(pod.metadata.uid);
      return connection?.report === undefined ? undefined : connection;
    });
    expect(known.identity).toEqual({
      namespace,
      podName: 'vm-web-1',
      podUid: pod.metadata.uid,
      vm: 'web',
    });
    const result = registry.send(pod.metadata.uid, 'pause', 'op-1');
    const line = await new Promise<string>((resolve) =>
      socket!.once('data', (data) => resolve(String(data))),
    );
    expect(JSON.parse(line)).toEqual({ type: 'command', id: 'op-1', name: 'pause' });
    socket!.write('{"type":"result","id":"op-1"}\n');
    expect(await result).toEqual({});
    socket!.destroy();
    await waitFor('its loss', () => registry.get(pod.metadata.uid) === undefined);
  });

  test('without a token, with a bad one, or with one for the API server, is told to come with a valid one', async () => {
    const pod = await launcherPod('vm-web-2');
    expect(await dial(undefined)).toMatchObject({ status: 401, body: { code: 'Unauthorized' } });
    expect(await dial('nonsense')).toMatchObject({ status: 401, body: { code: 'Unauthorized' } });
    const forApi = await tokenFor(client, pod, 'https://kubernetes.default.svc');
    expect(await dial(forApi)).toMatchObject({ status: 401 });
    // The signature is what counts, not what the token says of itself.
    const [head, payload] = (await tokenFor(client, pod)).split('.');
    expect(await dial(`${head}.${payload}.AAAA`)).toMatchObject({ status: 401 });
  });

  test('from a pod that is no launcher is refused', async () => {
    const pod = await client.create(pods, {
      metadata: { name: 'stranger', namespace },
      spec: { serviceAccountName: 'default', containers: [{ name: 'main', image: 'none' }] },
    });
    expect(await dial(await tokenFor(client, pod))).toEqual({
      status: 403,
      body: { code: 'NotALauncher', message: 'pod default/stranger is not a launcher of a VirtualMachine' },
    });
  });

  test('after its pod is gone is disowned', async () => {
    const pod = await launcherPod('vm-web-3');
    const token = await tokenFor(client, pod);
    const ref = { namespace, name: 'vm-web-3' };
    await client.delete(pods, ref, { gracePeriodSeconds: 0 });
    await waitFor('the end of the pod', async () => (await orNotFound(client.get(pods, ref))) === undefined);
    expect(await dialUntilDecided(token)).toEqual({
      status: 410,
      body: { code: 'Disowned', message: 'pod default/vm-web-3 does not exist any more' },
    });
    // Another pod of that name does not bring it back.
    const next = await launcherPod('vm-web-3');
    expect(await dial(token)).toMatchObject({ status: 410, body: { code: 'Disowned' } });
    expect((await dial(await tokenFor(client, next))).status).toBe(101);
  });

  test('is asked to come again while the API server cannot be asked, gone or not', async () => {
    const pod = await launcherPod('vm-web-4');
    const token = await tokenFor(client, pod);
    await client.delete(pods, { namespace, name: 'vm-web-4' }, { gracePeriodSeconds: 0 });
    proxy.outage();
    expect(await dial(token)).toMatchObject({ status: 503, body: { code: 'Unavailable' } });
    proxy.resume();
    // The review says "not valid", and the look whether the pod is gone fails.
    proxy.fault = (incoming, response) => {
      if (incoming.method !== 'GET') return undefined;
      response.destroy();
      return 'handled';
    };
    await waitFor('the token’s end', async () => (await dial(token)).status !== 101);
    expect(await dial(token)).toMatchObject({ status: 503, body: { code: 'Unavailable' } });
    proxy.fault = undefined;
    expect((await dialUntilDecided(token)).status).toBe(410);
  });

  test('a replica that does not lead is asked to come again', async () => {
    const pod = await launcherPod('vm-web-5');
    leads = false;
    expect(await dial(await tokenFor(client, pod))).toMatchObject({ status: 503 });
    leads = true;
  });

  test('at another path, or for another protocol, is told where the channel is', async () => {
    expect(await dial('x', { path: '/v2' })).toMatchObject({ status: 404 });
    expect(await dial('x', { protocol: 'websocket' })).toMatchObject({ status: 426 });
  });
});

/** The API server's own cache of tokens may still know the token for some seconds. */
async function dialUntilDecided(token: string): Promise<Answer> {
  return await waitFor(
    'an answer that is not 101',
    async () => {
      const answer = await dial(token);
      answer.socket?.destroy();
      return answer.status === 101 ? undefined : answer;
    },
    20_000,
  );
}

describe('the channel’s certificate', () => {
  const secret = (name: string) => ({ namespace, name });
  const dnsNames = ['a.test', 'b.test'];

  test('is the same for operators that ask at the same time', async () => {
    const options = { client, secret: secret('race'), dnsNames, log };
    const all = await Promise.all(Array.from({ length: 6 }, () => ensureCertificate(options)));
    expect(new Set(all.map((each) => each.certificate)).size).toBe(1);
    expect(new Set(all.map((each) => each.authority)).size).toBe(1);
    expect((await ensureCertificate(options)).certificate).toBe(all[0]!.certificate);
  });

  test('is renewed before its end, by the same authority, and the authority lives ten years', async () => {
    const options = { client, secret: secret('renewal'), dnsNames, log };
    const first = await ensureCertificate(options);
    const inDays = (days: number) => () => new Date(Date.now() + days * 86_400_000);
    expect((await ensureCertificate({ ...options, now: inDays(300) })).certificate).toBe(first.certificate);
    const second = await ensureCertificate({ ...options, now: inDays(310) });
    expect(second.certificate).not.toBe(first.certificate);
    expect(second.authority).toBe(first.authority);
    const authority = new X509Certificate(first.authority);
    expect(authority.validToDate.getTime() - Date.now()).toBeGreaterThan(3640 * 86_400_000);
    expect((await ensureCertificate({ ...options, now: inDays(3651) })).authority).not.toBe(first.authority);
  });

  test('is issued anew for other names, and when the Secret was damaged', async () => {
    const options = { client, secret: secret('damage'), dnsNames, log };
    const first = await ensureCertificate(options);
    const renamed = await ensureCertificate({ ...options, dnsNames: ['c.test'] });
    expect(new X509Certificate(renamed.certificate).checkHost('c.test')).toBe('c.test');
    expect(renamed.authority).toBe(first.authority);
    await client.patch(secrets, options.secret, { data: { 'tls.key': null, 'ca.crt': 'bm9uc2Vuc2U=' } });
    const repaired = await ensureCertificate(options);
    expect(repaired.authority).not.toBe(first.authority);
    expect(new X509Certificate(repaired.certificate).checkHost('a.test')).toBe('a.test');
  });
});

test('the leader’s endpoint slice names the leader alone', async () => {
  const publish = (podName: string, podIP: string) =>
    publishLeader({
      client,
      namespace,
      service: 'vmstead-operator',
      podName,
      podIP,
      fieldManager: 'vmstead-operator',
    });
  await publish('operator-a', '10.0.0.1');
  await publish('operator-b', '10.0.0.2');
  const slices = await client.list(endpointslices, {
    namespace,
    labelSelector: 'kubernetes.io/service-name=vmstead-operator',
  });
  expect(slices).toHaveLength(1);
  expect(slices[0]).toMatchObject({
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.0.0.2'], targetRef: { name: 'operator-b' }, conditions: { ready: true } }],
    ports: [{ name: 'channel', port: 8443, protocol: 'TCP' }],
  });
});
