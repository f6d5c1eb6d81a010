import { kubectl } from './kubectl.ts';
import type { Cluster, ClusterProvider, NodeHandle } from './provider.ts';

/** A node that we can only look at: driving it is its owner's business. */
function observedNode(cluster: string, name: string, ip: string): NodeHandle {
  const refuse = async (): Promise<never> => {
    throw new Error(`node ${name} of ${cluster} cannot be driven by tests: only the cluster built here can`);
  };
  return {
    name,
    ip,
    exec: refuse,
    stop: refuse,
    start: refuse,
    pause: refuse,
    unpause: refuse,
    service: refuse,
  };
}

interface NodeList {
  items: {
    metadata: { name: string };
    spec: { unschedulable?: boolean; taints?: { effect: string }[] };
    status: { addresses?: { type: string; address: string }[] };
  }[];
}

/** The schedulable nodes of any cluster. */
export async function observedNodes(cluster: string, kubeconfig: string): Promise<NodeHandle[]> {
  const list = JSON.parse(await kubectl(kubeconfig, ['get', 'nodes', '--output', 'json'])) as NodeList;
  return list.items
    .filter((node) => !node.spec.unschedulable)
    .filter((node) => !node.spec.taints?.some((taint) => taint.effect.startsWith('No')))
    .map((node) => {
      const internal = node.status.addresses?.find((address) => address.type === 'InternalIP');
      return observedNode(cluster, node.metadata.name, internal?.address ?? '');
    });
}

/** A person's own cluster, by its kubeconfig. Its images come from a registry that it can reach. */
export function externalProvider(kubeconfig: string): ClusterProvider {
  const name = `the cluster of ${kubeconfig}`;
  return {
    async ensure(): Promise<Cluster> {
      const nodes = await observedNodes(name, kubeconfig);
      return {
        name,
        kubeconfigPath: kubeconfig,
        nodes,
        node(wanted) {
          const found = nodes.find((node) => node.name === wanted);
          if (!found) throw new Error(`there is no schedulable node "${wanted}" in ${name}`);
          return found;
        },
        // Nothing to do: `npm run images -- --push REGISTRY` is how they get there.
        loadImages: async () => {},
      };
    },
    // It is not ours to stop.
    stop: async () => {},
  };
}
