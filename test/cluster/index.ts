import { resolve } from 'node:path';
import { externalProvider } from './external.ts';
import { LocalProvider } from './local/cluster.ts';
import type { ClusterProvider } from './provider.ts';
import { publishedProvider } from './published.ts';

export type { Cluster } from './provider.ts';

/** Names the cluster that a test run has set up, for the processes of that run. */
const runningTests = 'VMSTEAD_TEST_RUN';

/**
 * Where the cluster comes from: a person's own (`VMSTEAD_KUBECONFIG`), kind's published image
 * (`VMSTEAD_PROVIDER=kind`), or the one built here.
 */
export function clusterSource(): 'own' | 'published' | 'local' {
  if (process.env.VMSTEAD_KUBECONFIG) return 'own';
  return process.env.VMSTEAD_PROVIDER === 'kind' ? 'published' : 'local';
}

/**
 * The provider of the cluster that {@link clusterSource} names.
 *
 * @param fallbackName the cluster's name unless `VMSTEAD_CLUSTER` says another one
 */
export function clusterProvider(fallbackName = 'vmstead'): ClusterProvider {
  const name = process.env.VMSTEAD_CLUSTER ?? fallbackName;
  const source = clusterSource();
  if (source === 'own') return externalProvider(resolve(process.env.VMSTEAD_KUBECONFIG ?? ''));
  if (source === 'published') return publishedProvider(name);
  return new LocalProvider(name, process.env[runningTests] === name);
}

/** The provider of the cluster that tests use: never the one a person started with `npm start`. */
export function testClusterProvider(): ClusterProvider {
  return clusterProvider('vmstead-test');
}

/** Says that the cluster of this name is what this test run works with, whatever happens to the files it was made from. */
export function keepTestCluster(name: string): void {
  process.env[runningTests] = name;
}
