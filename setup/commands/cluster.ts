import { clusterProvider } from '../../test/cluster/index.ts';
import type { Given } from '../command-module.ts';
import { clusterSteps, setUp } from '../steps/index.ts';

/** Only the cluster, without Vmstead in it; image references given as arguments are loaded into its nodes. */
export async function run({ words }: Given): Promise<number> {
  if (!process.env.VMSTEAD_KUBECONFIG) await setUp(clusterSteps);
  const cluster = await clusterProvider().ensure((message) => console.log(message));
  await cluster.loadImages(words);
  console.log(`Cluster "${cluster.name}": export KUBECONFIG=${cluster.kubeconfigPath}`);
  return 0;
}
