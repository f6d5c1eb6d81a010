/** Pods and claims without Vmstead, for tests of the cluster itself. */
import type { Cluster } from '../../cluster/index.ts';
import { kubectl } from '../../cluster/kubectl.ts';
import { busyboxImage } from '../../cluster/local/definition.ts';

export function claim(name: string, spec: object, size = '8Mi'): object {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: size } }, ...spec },
  };
}

interface PodOptions {
  node: string;
  command?: string[];
  volumes?: object[];
  container?: object;
}

/** A pod that sleeps in busybox, unless told otherwise, and goes at once when it is deleted. */
export function pod(
  name: string,
  { node, command = ['sleep', '100000'], volumes = [], container = {} }: PodOptions,
): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: {
      terminationGracePeriodSeconds: 0,
      nodeSelector: { 'kubernetes.io/hostname': node },
      containers: [
        { name: 'main', image: busyboxImage, command: ['/bin/busybox', ...command], ...container },
      ],
      volumes,
    },
  };
}

/** A namespace of the test cluster, empty when it opens. */
export class PlainNamespace {
  readonly #cluster: Cluster;
  readonly #name: string;

  private constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.#name = name;
  }

  static async open(cluster: Cluster, name: string): Promise<PlainNamespace> {
    await kubectl(cluster.kubeconfigPath, ['delete', 'namespace', name, '--ignore-not-found']);
    await kubectl(cluster.kubeconfigPath, ['create', 'namespace', name]);
    return new PlainNamespace(cluster, name);
  }

  /** @throws Error with what kubectl said when it fails */
  run(args: string[], input?: string): Promise<string> {
    return kubectl(this.#cluster.kubeconfigPath, ['--namespace', this.#name, ...args], input);
  }

  apply(...items: object[]): Promise<string> {
    const list = { apiVersion: 'v1', kind: 'List', items };
    return this.run(['apply', '--filename', '-'], JSON.stringify(list));
  }

  ready(name: string, seconds = 60): Promise<string> {
    return this.run(['wait', '--for=condition=Ready', `pod/${name}`, `--timeout=${seconds}s`]);
  }

  /** Runs a shell command in a pod. */
  shell(name: string, script: string): Promise<string> {
    return this.run(['exec', name, '--', 'sh', '-c', script]);
  }

  async close(): Promise<void> {
    await kubectl(this.#cluster.kubeconfigPath, ['delete', 'namespace', this.#name, '--wait=false']);
  }
}
