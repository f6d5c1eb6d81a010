import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { binary } from '../../setup/paths.ts';
import { apiGet } from './api-client.ts';
import { kubectl } from './kubectl.ts';
import { csiAddons } from './local/csi-addons.ts';
import type { Cluster, NodeHandle } from './provider.ts';

const timeout = 60_000;

/** Starts a machine's part, now and whenever the machine starts again. */
async function startServices(machine: NodeHandle): Promise<void> {
  const result = await machine.exec(`
    touch /var/lib/storage-started
    cd /etc/vmstead/storage
    for name in *; do rm -f "/run/services/$name/down"; sv start "/run/services/$name" || exit 1; done`);
  if (result.exitCode !== 0) {
    throw new Error(`starting the CSI driver on ${machine.name}: ${(result.stdout + result.stderr).trim()}`);
  }
}

/** Names of the nodes whose kubelet knows a CSI driver. */
async function nodesWithDriver(cluster: Cluster): Promise<Set<string>> {
  const answer = await apiGet(cluster.kubeconfigPath, '/apis/storage.k8s.io/v1/csinodes');
  if (answer?.status !== 200) return new Set();
  const list = JSON.parse(answer.body) as {
    items: { metadata: { name: string }; spec: { drivers?: unknown[] } }[];
  };
  return new Set(list.items.filter((node) => node.spec.drivers?.length).map((node) => node.metadata.name));
}

/**
 * Gives a cluster storage class and snapshot class `csi`: volumes that go where the pod goes, filesystem or block
 * (block on several nodes at once too), with snapshots, clones and growth. A few seconds; at once when it is there.
 *
 * @throws Error for a cluster that is not ours to change, or when it does not come up within a minute
 */
export async function startCsi(cluster: Cluster): Promise<void> {
  const { controlPlane, kubeconfigPath, nodes } = cluster;
  const complete = async (): Promise<boolean> => {
    const known = await nodesWithDriver(cluster);
    return nodes.every((node) => known.has(node.name));
  };
  if (await complete()) return;
  if (!controlPlane) {
    throw new Error(
      `the CSI driver of the tests runs only in the cluster built here, not in ${cluster.name}`,
    );
  }
  const folder = dirname(binary('csi', 'csi-driver'));
  const kinds = (await readdir(folder)).filter((file) => file.endsWith('.yaml'));
  const apply = (documents: string): Promise<string> =>
    kubectl(kubeconfigPath, ['apply', '--server-side', '--filename', '-'], documents);
  const definitions = await Promise.all(kinds.map((file) => readFile(join(folder, file), 'utf8')));
  await apply(definitions.join('\n---\n'));
  await kubectl(kubeconfigPath, [
    ...['wait', '--for=condition=Established', `--timeout=${timeout / 1000}s`],
    ...kinds.map((file) => `crd/${file.replace('.yaml', '')}.snapshot.storage.k8s.io`),
  ]);
  await apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: csiAddons }));
  await Promise.all([controlPlane, ...nodes].map(startServices));
  const deadline = Date.now() + timeout;
  while (!(await complete())) {
    if (Date.now() > deadline) {
      throw new Error(
        `the CSI driver of ${cluster.name} is not known to its kubelets: see csi-driver.log of its nodes`,
      );
    }
    await sleep(200);
  }
}
