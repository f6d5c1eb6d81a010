import { createClient, type KubeClient } from '../../../operator/kube/client.ts';
import { fromKubeconfig } from '../../../operator/kube/kubeconfig.ts';
import { createTransport, type Transport } from '../../../operator/kube/transport.ts';

export interface Api extends Disposable {
  client: KubeClient;
  transport: Transport;
}

/** The API server as the person who runs the tests. */
export async function openApi(kubeconfig: string): Promise<Api> {
  const transport = createTransport(await fromKubeconfig(kubeconfig), { userAgent: 'vmstead-e2e' });
  return {
    client: createClient(transport),
    transport,
    [Symbol.dispose]: () => transport.close(),
  };
}
