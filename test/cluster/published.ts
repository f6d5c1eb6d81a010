import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stateDirectory } from '../../setup/paths.ts';
import { observedNodes } from './external.ts';
import type { Cluster, ClusterProvider } from './provider.ts';

const run = promisify(execFile);

/**
 * A cluster from kind's published node images, for machines that reach a registry and have `kind` but no Go.
 * Our own tests do not run this: their machines reach no registry.
 */
export function publishedProvider(name: string): ClusterProvider {
  const directory = join(stateDirectory, 'clusters', name);
  const kubeconfigPath = join(directory, 'kubeconfig');
  const configuration = {
    kind: 'Cluster',
    apiVersion: 'kind.x-k8s.io/v1alpha4',
    nodes: [{ role: 'control-plane' }, { role: 'worker' }, { role: 'worker' }],
  };
  const kind = async (...args: string[]): Promise<string> => {
    try {
      return (await run('kind', args)).stdout;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new Error(
        'VMSTEAD_PROVIDER=kind needs the "kind" command: install it, or unset VMSTEAD_PROVIDER',
      );
    }
  };
  return {
    async ensure(report = () => {}): Promise<Cluster> {
      await mkdir(directory, { recursive: true });
      if ((await kind('get', 'clusters')).split('\n').includes(name)) {
        await kind('export', 'kubeconfig', '--name', name, '--kubeconfig', kubeconfigPath);
      } else {
        report('kind is making the cluster');
        const config = JSON.stringify(configuration);
        const child = run('kind', [
          ...['create', 'cluster', '--name', name, '--kubeconfig', kubeconfigPath],
          ...['--wait', '5m', '--config', '-'],
        ]);
        child.child.stdin?.end(config);
        await child;
      }
      const nodes = await observedNodes(name, kubeconfigPath);
      return {
        name,
        kubeconfigPath,
        nodes,
        node(wanted) {
          const found = nodes.find((node) => node.name === wanted);
          if (!found) throw new Error(`there is no schedulable node "${wanted}" in ${name}`);
          return found;
        },
        async loadImages(references) {
          if (references.length > 0) await kind('load', 'docker-image', '--name', name, ...references);
        },
      };
    },
    async stop() {
      await kind('delete', 'cluster', '--name', name, '--kubeconfig', kubeconfigPath);
    },
  };
}
