import { LocalProvider } from '../../test/cluster/local/cluster.ts';
import { localClusters, runningContainers } from '../../test/cluster/local/docker.ts';
import { root } from '../paths.ts';
import { dockerEngine, stopDockerEngine } from '../steps/docker-engine.ts';

/** Ends every cluster of this checkout (one only: VMSTEAD_CLUSTER), then the Docker engine if we started it. */
export async function run(): Promise<number> {
  if (!(await dockerEngine.isDone())) {
    console.log('Nothing runs: no Docker engine answers.');
    return 0;
  }
  const only = process.env.VMSTEAD_CLUSTER;
  const names = only ? [only] : await localClusters(root);
  for (const name of names) {
    await new LocalProvider(name).stop();
    console.log(`stopped cluster "${name}"`);
  }
  if (names.length === 0) console.log('No cluster runs.');
  const engine = await stopDockerEngine(runningContainers);
  if (engine) console.log(engine);
  return 0;
}
