/** What the pre-delete hook does where no kubelet answers: the uninstall must end, and must not lie. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import { orNotFound } from '../../operator/kube/errors.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import { leases, pods, secrets } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { createLogger } from '../../operator/log.ts';
import { uninstall } from '../../operator/uninstall.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { kubectl } from '../cluster/kubectl.ts';

const namespace = 'default';
let server: ApiServer;
let transport: Transport;
let client: KubeClient;

beforeAll(async () => {
  server = await startApiServer();
  await kubectl(server.kubeconfigPath, [
    ...['wait', '--for=jsonpath={.status.phase}=Active', 'namespace/default', '--timeout=30s'],
  ]);
  transport = createTransport(await fromKubeconfig(server.kubeconfigPath), { userAgent: 'vmstead-test/1' });
  client = createClient(transport);
});
afterAll(async () => {
  transport?.close();
  await server?.stop();
});

const labels = { 'app.kubernetes.io/managed-by': 'vmstead' };
const exists = async (lease: string) =>
  (await orNotFound(client.get(leases, { namespace, name: lease }))) !== undefined;

beforeEach(async () => {
  await client.create(secrets, { metadata: { namespace, name: 'vmstead-channel' } });
  for (const name of ['vm-web-1', 'vm-db-1']) {
    await client.create(pods, {
      metadata: {
        namespace,
        name,
        labels: { ...labels, 'vmstead.io/vm': name.split('-')[1]! },
        finalizers: ['vmstead.io/launcher', 'example.com/other'],
      },
      spec: { nodeName: 'silent', containers: [{ name: 'launcher', image: 'x' }] },
    });
    await client.create(leases, {
      metadata: { namespace, name: `vmstead-claim-${name}`, labels },
      spec: { holderIdentity: name },
    });
  }
});

it('lets go of a VM on a silent node at its deadline, says so, and keeps the claims of that VM owned', async () => {
  const pod = await client.get(pods, { namespace, name: 'vm-web-1' });
  const terminated = { exitCode: 0, finishedAt: '2026-01-01T00:00:00Z', startedAt: '2026-01-01T00:00:00Z' };
  const status = {
    name: 'launcher',
    image: 'x',
    imageID: '',
    ready: false,
    restartCount: 0,
    state: { terminated },
  };
  await client.replace(
    pods,
    { ...pod, status: { phase: 'Succeeded', containerStatuses: [status] } },
    { subresource: 'status' },
  );
  const unproved = await uninstall({
    client,
    namespace,
    operatorSelector: 'app.kubernetes.io/component=operator',
    deadlineMs: 1500,
    log: createLogger('silent'),
  });
  expect(unproved).toEqual(['default/vm-db-1']);
  for (const name of ['vm-web-1', 'vm-db-1']) {
    const { metadata } = await client.get(pods, { namespace, name });
    expect(metadata.deletionTimestamp).toBeDefined();
    // Somebody else's finalizer is not ours to take.
    expect(metadata.finalizers).toEqual(['example.com/other']);
  }
  expect([await exists('vmstead-claim-vm-web-1'), await exists('vmstead-claim-vm-db-1')]).toEqual([
    false,
    true,
  ]);
  // A launcher that may still run knows this certificate only.
  expect(await client.get(secrets, { namespace, name: 'vmstead-channel' })).toBeDefined();
});
