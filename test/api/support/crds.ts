import { join } from 'node:path';
import { createClient, type KubeClient } from '../../../operator/kube/client.ts';
import { fromKubeconfig } from '../../../operator/kube/kubeconfig.ts';
import type { KubeObject } from '../../../operator/kube/object.ts';
import { define } from '../../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../../operator/kube/transport.ts';
import { type ApiServer, startApiServer } from '../../cluster/api-server.ts';
import { kubectl } from '../../cluster/kubectl.ts';
import { waitFor } from './wait-for.ts';

export interface ServerWithCrds extends AsyncDisposable {
  readonly server: ApiServer;
  readonly client: KubeClient;
  readonly transport: Transport;
}

export interface Crd extends KubeObject {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[] | null;
  };
}

export const crds = define<Crd>(
  'apiextensions.k8s.io/v1',
  'CustomResourceDefinition',
  'customresourcedefinitions',
  'Cluster',
);
const namespaces = define<KubeObject>('v1', 'Namespace', 'namespaces', 'Cluster');

/** A bare API server that knows Vmstead's kinds, from the files in git. */
export async function startServerWithCrds(): Promise<ServerWithCrds> {
  const server = await startApiServer();
  const connection = await fromKubeconfig(server.kubeconfigPath);
  const transport = createTransport(connection, { userAgent: 'vmstead-test/1' });
  const client = createClient(transport);
  await kubectl(server.kubeconfigPath, ['apply', '-f', join(import.meta.dirname, '../../../crds/generated')]);
  // `kubectl wait` fails on a CRD that has no conditions yet.
  const established = ({ status }: Crd) =>
    status?.conditions?.some((each) => each.type === 'Established' && each.status === 'True');
  await waitFor('CRDs to be established', async () => (await client.list(crds)).every(established), 60_000);
  await waitFor(
    'namespace default',
    async () => (await client.list(namespaces)).some(({ metadata }) => metadata.name === 'default'),
    60_000,
  );
  return {
    server,
    transport,
    client,
    async [Symbol.asyncDispose]() {
      transport.close();
      await server.stop();
    },
  };
}
