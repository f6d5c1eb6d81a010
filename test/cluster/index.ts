import { externalProvider } from './external.ts';
import { LocalProvider } from './local/cluster.ts';
import type { ClusterProvider } from './provider.ts';
import { publishedProvider } from './published.ts';

export type { Cluster } from './provider.ts';

/**
 * Where the cluster comes from: a person's own (`VMSTEAD_KUBECONFIG`), kind's published image
 * (`VMSTEAD_PROVIDER=kind`), or the one built here.
 *
 * @param fallbackName the cluster's name unless `VMSTEAD_CLUSTER` says another one
 */
export function clusterProvider(fallbackName = 'vmstead'): ClusterProvider {
  const name = process.env.VMSTEAD_CLUSTER ?? fallbackName;
  const own = process.env.VMSTEAD_KUBECONFIG;
  if (own) return externalProvider(own);
  if (process.env.VMSTEAD_PROVIDER === 'kind') return publishedProvider(name);
  return new LocalProvider(name);
}

/** The provider of the cluster that tests use: never the one a person started with `npm start`. */
export function testClusterProvider(): ClusterProvider {
  return clusterProvider('vmstead-test');
}
