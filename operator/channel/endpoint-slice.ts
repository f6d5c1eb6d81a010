import { isIPv6 } from 'node:net';
import { LABEL, MANAGED_BY } from '../../crds/api.ts';
import { CHANNEL_PORT } from '../../crds/channel.ts';
import type { KubeClient } from '../kube/client.ts';
import { endpointslices } from '../kube/resources.ts';

export interface EndpointOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of the Service without a selector; the slice has the same name. */
  readonly service: string;
  readonly podName: string;
  readonly podIP: string;
  readonly fieldManager: string;
}

/**
 * Points the operator's Service at the leader: the Service has no selector, so nothing but this slice says where it
 * leads (with two replicas behind it, every second connection would meet one that does not lead).
 * One slice under a fixed name: a new leader's word replaces the old one's.
 */
export async function publishLeader(options: EndpointOptions): Promise<void> {
  const { client, namespace, service, podName, podIP, fieldManager } = options;
  await client.apply(
    endpointslices,
    {
      metadata: {
        name: service,
        namespace,
        labels: {
          'kubernetes.io/service-name': service,
          'endpointslice.kubernetes.io/managed-by': 'operator.vmstead.io',
          [LABEL.managedBy]: MANAGED_BY,
        },
      },
      addressType: isIPv6(podIP) ? 'IPv6' : 'IPv4',
      endpoints: [
        {
          addresses: [podIP],
          conditions: { ready: true, serving: true, terminating: false },
          targetRef: { kind: 'Pod', name: podName, namespace },
        },
      ],
      ports: [{ name: 'channel', port: CHANNEL_PORT, protocol: 'TCP' }],
    },
    { fieldManager },
  );
}
