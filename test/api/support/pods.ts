import { LABEL, TOKEN_AUDIENCE } from '../../../crds/api.ts';
import type { KubeClient } from '../../../operator/kube/client.ts';
import type { KubeObject } from '../../../operator/kube/object.ts';
import { define, type Pod, pods } from '../../../operator/kube/resources.ts';

interface TokenRequest extends KubeObject {
  readonly spec: object;
  readonly status?: { readonly token: string };
}
export const serviceaccounts = define<KubeObject>('v1', 'ServiceAccount', 'serviceaccounts');
const tokenRequests = {
  ...define<TokenRequest>('v1', 'ServiceAccount', 'serviceaccounts'),
};

/** A pod as the operator makes launchers, as far as the API server can tell. */
export function createLauncherPod(
  client: KubeClient,
  namespace: string,
  vm: string,
  name: string,
): Promise<Pod> {
  return client.create(pods, {
    metadata: {
      name,
      namespace,
      labels: { [LABEL.vm]: vm },
      ownerReferences: [
        {
          apiVersion: 'vmstead.io/v1alpha1',
          kind: 'VirtualMachine',
          name: vm,
          uid: '11111111-2222-3333-4444-555555555555',
          controller: true,
        },
      ],
    },
    spec: { serviceAccountName: 'default', containers: [{ name: 'launcher', image: 'none' }] },
  });
}

/** A token as the kubelet would mount it into the pod. */
export async function tokenFor(client: KubeClient, pod: Pod, audience = TOKEN_AUDIENCE): Promise<string> {
  const { name, namespace, uid } = pod.metadata;
  const answer = await client.create(
    tokenRequests,
    {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: 'default', namespace: namespace! },
      spec: {
        audiences: [audience],
        expirationSeconds: 600,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      },
    },
    { subresource: 'token' },
  );
  return answer.status!.token;
}
