/** The cluster that is measured: the chart of this checkout on it, and a namespace for what is started. */
import { buildImages, type Images } from '../../images/build.ts';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import { type Pod, pods } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { deploy } from '../../setup/deploy.ts';
import { clusterProvider } from '../cluster/index.ts';
import { kubectl } from '../cluster/kubectl.ts';
import type { Cluster } from '../cluster/provider.ts';
import { poll } from '../e2e/support/poll.ts';
import { tinyImage } from '../e2e/support/release.ts';

import { RELEASE_NAMESPACES, USER_AGENT } from './names.ts';

export interface Bed extends Disposable {
  cluster: Cluster;
  client: KubeClient;
  transport: Transport;
  images: Images;
  namespace: string;
  /** What it does, for a person who waits. */
  say(message: string): void;
  /** Pods of Vmstead itself. */
  releasePods(): Promise<Pod[]>;
}

/** Starts or finds the cluster, brings this checkout's Vmstead onto it, and empties the bench's namespace. */
export async function openBed(say: (message: string) => void): Promise<Bed> {
  const cluster = await clusterProvider('vmstead-bench').ensure(say);
  const images = await buildImages({ report: say });
  await cluster.loadImages([...Object.values(images), tinyImage]);
  await deploy(cluster.kubeconfigPath, images);
  const transport = createTransport(await fromKubeconfig(cluster.kubeconfigPath), { userAgent: USER_AGENT });
  const client = createClient(transport);
  const namespace = 'bench';
  const run = (...args: string[]) => kubectl(cluster.kubeconfigPath, args);
  await run('delete', 'vm,pod', '--all', '-n', namespace, '--wait=false');
  await run('delete', 'namespace', namespace, '--ignore-not-found', '--timeout=90s');
  await run('create', 'namespace', namespace);
  // What is measured shall run as users run it.
  await run('label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted');
  await poll('the service account of the namespace', () =>
    run('get', 'serviceaccount', 'default', '-n', namespace),
  );
  return {
    cluster,
    client,
    transport,
    images,
    namespace,
    say,
    async releasePods() {
      const lists = await Promise.all(
        RELEASE_NAMESPACES.map((each) => client.list(pods, { namespace: each })),
      );
      return lists.flat();
    },
    [Symbol.dispose]: () => transport.close(),
  };
}
