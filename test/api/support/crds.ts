import { join } from 'node:path';
import { createClient, type KubeClient } from '../../../operator/kube/client.ts';
import { fromKubeconfig } from '../../../operator/kube/kubeconfig.ts';
import { createTransport, type Transport } from '../../../operator/kube/transport.ts';
import { type ApiServer, startApiServer } from '../../cluster/api-server.ts';
import { kubectl } from '../../cluster/kubectl.ts';

export interface ServerWithCrds extends AsyncDisposable {
  readonly server: ApiServer;
  readonly client: KubeClient;
  readonly transport: Transport;
}

/** A bare API server that knows Vmstead's kinds, from the files in git. */
export async function startServerWithCrds(): Promise<ServerWithCrds> {
  const server = await startApiServer();
  const kube = (...args: string[]) => kubectl(server.kubeconfigPath, args);
  await kube('apply', '-f', join(import.meta.dirname, '../../../crds/generated'));
  await kube('wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s');
  await kube('wait', '--for=jsonpath={.status.phase}=Active', 'namespace/default', '--timeout=30s');
  const connection = await fromKubeconfig(server.kubeconfigPath);
  const transport = createTransport(connection, { userAgent: 'vmstead-test/1' });
  return {
    server,
    transport,
    client: createClient(transport),
    async [Symbol.asyncDispose]() {
      transport.close();
      await server.stop();
    },
  };
}
