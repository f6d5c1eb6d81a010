import { type Connection, inCluster } from './connection.ts';

/**
 * In a pod its service account, elsewhere a kubeconfig (`KUBECONFIG`, `~/.kube/config`). The kubeconfig
 * reader brings in client-node (0.5 s and tens of MiB), so it is loaded only where it is used.
 */
export async function connectionFromEnvironment(env = process.env): Promise<Connection> {
  if (env.KUBERNETES_SERVICE_HOST && !env.KUBECONFIG) return inCluster(env);
  const { fromKubeconfig } = await import('./kubeconfig.ts');
  return fromKubeconfig();
}
