import { keepTestCluster, testClusterProvider } from './index.ts';

/** The cluster is up before the first test; it stays, because the next run starts quicker with it. */
export default async function setup(): Promise<void> {
  const cluster = await testClusterProvider().ensure((message) => console.log(`cluster: ${message}`));
  keepTestCluster(cluster.name);
}
