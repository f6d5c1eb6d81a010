import { existsSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerRuntimeClient } from 'testcontainers';
import { binaries, cacheDirectory, contentKey, root, stateDirectory } from '../../../setup/paths.ts';
import { apiGet } from '../api-client.ts';
import { kubectl } from '../kubectl.ts';
import type { Cluster, ClusterProvider, NodeHandle, Report } from '../provider.ts';
import { addons } from './addons.ts';
import { csiAddons } from './csi-addons.ts';
import * as definition from './definition.ts';
import { controlPlane, type Machine, machines, workers } from './definition.ts';
import {
  clusterContainers,
  connectDocker,
  createNetwork,
  type Docker,
  labels,
  nodeCapabilities,
  removeContainer,
  removeNetworks,
} from './docker.ts';
import { clusterFiles, writeClusterFiles } from './files.ts';
import { imagesMount, loadImages } from './images.ts';
import { containerNode, listLoops } from './node.ts';
import { nodeImage } from './node-image.ts';

const savedImages = join(cacheDirectory, 'images');
const startTimeout = 120_000;

/** Runs `attempt` until it says true. @throws Error after `startTimeout` */
async function until(what: string, logs: string, attempt: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + startTimeout;
  while (!(await attempt())) {
    if (Date.now() > deadline)
      throw new Error(`${what} took longer than ${startTimeout / 1000} s: see the logs in ${logs}`);
    await sleep(200);
  }
}

/** Settings of the engine's API (1.41) that its type declarations do not know yet. */
const newerHostConfig: object = { CgroupnsMode: 'private' };

/** Names of the nodes whose condition Ready is True. */
async function readyNodes(kubeconfig: string): Promise<Set<string>> {
  const answer = await apiGet(kubeconfig, '/api/v1/nodes');
  if (answer?.status !== 200) return new Set();
  const list = JSON.parse(answer.body) as {
    items: { metadata: { name: string }; status: { conditions?: { type: string; status: string }[] } }[];
  };
  const ready = list.items.filter((node) =>
    node.status.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True'),
  );
  return new Set(ready.map((node) => node.metadata.name));
}

/** A two-node Kubernetes in containers of the local Docker engine, made of what the set-up built. */
export class LocalProvider implements ClusterProvider {
  readonly name: string;
  readonly #asItIs: boolean;

  /**
   * @param name distinguishes clusters on one machine; also the prefix of its containers' names
   * @param asItIs a cluster that is there is taken even if it was made from other files: a test run that has begun
   *   keeps its cluster while somebody edits them
   */
  constructor(name: string, asItIs = false) {
    this.name = name;
    this.#asItIs = asItIs;
  }

  get #files(): ReturnType<typeof clusterFiles> {
    return clusterFiles(join(stateDirectory, 'clusters', this.name));
  }

  /** Changes with anything that a cluster is made of. */
  #key(): string {
    const address = '10.231.0.0';
    return contentKey(
      // vitest and Node order a module's exports each in their way.
      JSON.stringify(Object.entries(definition).sort()),
      JSON.stringify(definition.controlPlaneServices(address)),
      JSON.stringify(definition.controlPlaneStorage()),
      ...workers.flatMap((machine) => [
        JSON.stringify(definition.workerServices(machine, address)),
        JSON.stringify(definition.workerStorage(machine)),
        definition.containerdConfig(machine),
        JSON.stringify(definition.cniConfig(machine)),
      ]),
      JSON.stringify(definition.kubeletConfig()),
      JSON.stringify(addons(address)),
      JSON.stringify(csiAddons),
      nodeImage(),
      JSON.stringify(binaries),
    );
  }

  async ensure(report: Report = () => {}, hint?: Promise<readonly string[]>): Promise<Cluster> {
    const client = await connectDocker();
    const docker = client.container.dockerode;
    const key = this.#key();
    const existing = await clusterContainers(docker, this.name);
    const foreign = [...existing.values()].find((container) => container.checkout !== root);
    // A checkout that is gone left it behind: nobody could stop it there.
    if (foreign && existsSync(foreign.checkout)) {
      throw new Error(
        `cluster "${this.name}" was started from ${foreign.checkout}: stop it there ("npm stop") or choose another name with VMSTEAD_CLUSTER`,
      );
    }
    const whole = machines.every((machine) => {
      const container = existing.get(machine.name);
      return container?.checkout === root && (this.#asItIs || container.key === key);
    });
    if (whole) {
      const cluster = await this.#handle(client);
      if (await this.#revive(docker, existing, report)) return cluster;
    }
    if (existing.size > 0) {
      report('the cluster that is there is not as it should be: making a new one');
      await this.#remove(client);
    }
    await this.#create(docker, key, report);
    return this.#finish(client, report, hint);
  }

  /** Starts what is stopped or frozen; false when the cluster does not come back. */
  async #revive(
    docker: Docker,
    containers: Awaited<ReturnType<typeof clusterContainers>>,
    report: Report,
  ): Promise<boolean> {
    for (const [machine, container] of containers) {
      if (container.state === 'running') continue;
      report(`${machine} is ${container.state}: starting it again`);
      const handle = docker.getContainer(container.id);
      await (container.state === 'paused' ? handle.unpause() : handle.start());
    }
    const deadline = Date.now() + 60_000;
    while (Date.now() < deadline) {
      const ready = await readyNodes(this.#files.kubeconfig).catch(() => new Set());
      if (workers.every((machine) => ready.has(machine.name))) return true;
      await sleep(500);
    }
    return false;
  }

  async #create(docker: Docker, key: string, report: Report): Promise<void> {
    const files = this.#files;
    const tags = { [labels.cluster]: this.name, [labels.checkout]: root, [labels.key]: key };
    await removeNetworks(docker, this.name);
    const prefix = await createNetwork(docker, this.name, tags);
    const address = (machine: Machine): string => `${prefix}.${machine.host}`;
    await writeClusterFiles(files, address);
    await mkdir(savedImages, { recursive: true });
    report(`starting ${machines.map((machine) => machine.name).join(', ')}`);
    await Promise.all(
      machines.map(async (machine) => {
        const peers = machines.filter((other) => other !== machine);
        const container = await docker.createContainer({
          name: `${this.name}-${machine.name}`,
          Image: nodeImage(),
          Hostname: machine.name,
          Labels: { ...tags, [labels.machine]: machine.name },
          Env: [
            `NODE_IP=${address(machine)}`,
            `NODE_INDEX=${machine.index}`,
            `NODE_PEERS=${peers.map((peer) => `${peer.index}=${address(peer)}`).join(' ')}`,
            `NODE_KVM=${machine.kvm ? 'yes' : 'no'}`,
          ],
          Volumes: Object.fromEntries(
            ['/var/lib/containerd', '/var/lib/kubelet', '/var/lib/etcd', '/opt/volumes'].map((path) => [
              path,
              {},
            ]),
          ),
          NetworkingConfig: {
            EndpointsConfig: { [this.name]: { IPAMConfig: { IPv4Address: address(machine) } } },
          },
          HostConfig: {
            ...newerHostConfig,
            NetworkMode: this.name,
            CapAdd: nodeCapabilities,
            SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined'],
            MaskedPaths: [],
            ReadonlyPaths: [],
            DeviceCgroupRules: ['a *:* rwm'],
            Tmpfs: { '/run': 'exec,dev,suid', '/tmp': 'exec,dev,suid' },
            Binds: [
              `${binaries.kubernetes}:/opt/kubernetes:ro`,
              `${binaries.containerd}:/opt/containerd:ro`,
              `${binaries.coredns}:/opt/coredns:ro`,
              `${binaries.localPathProvisioner}:/opt/local-path-provisioner:ro`,
              `${savedImages}:${imagesMount}:ro`,
              `${cacheDirectory}:${definition.cacheMount}:ro`,
              `${files.machine(machine.name)}:/etc/vmstead:ro`,
              `${files.logs(machine.name)}:/var/log/services`,
              `${files.shared}:/var/lib/shared`,
            ],
          },
        });
        await container.start();
      }),
    );
  }

  /** Waits for the API server and the nodes of a new cluster, and gives it what every cluster has. */
  async #finish(
    client: ContainerRuntimeClient,
    report: Report,
    hint?: Promise<readonly string[]>,
  ): Promise<Cluster> {
    const { kubeconfig, directory } = this.#files;
    const logs = join(directory, 'logs');
    const cluster = await this.#handle(client);
    const images = cluster.loadImages([definition.pauseImage, definition.busyboxImage]);
    // Who gave the hint loads them again when it matters, and tells what went wrong.
    const hinted = images.then(async () => cluster.loadImages((await hint) ?? [])).catch(() => {});
    report('waiting for the API server');
    await until('the API server', logs, async () => {
      const ready = await apiGet(kubeconfig, '/readyz');
      const namespace = await apiGet(kubeconfig, '/api/v1/namespaces/kube-system');
      return ready?.status === 200 && namespace?.status === 200;
    });
    const items = addons(cluster.controlPlane?.ip ?? '');
    await kubectl(
      kubeconfig,
      ['apply', '--server-side', '--filename', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
    );
    report('waiting for the nodes');
    await until('the nodes', logs, async () => (await readyNodes(kubeconfig)).size === workers.length);
    await images;
    await hinted;
    await until('the default service account', logs, async () => {
      const answer = await apiGet(kubeconfig, '/api/v1/namespaces/default/serviceaccounts/default');
      return answer?.status === 200;
    });
    return cluster;
  }

  async #handle(client: ContainerRuntimeClient): Promise<Cluster> {
    const docker = client.container.dockerode;
    const files = this.#files;
    const clusterName = this.name;
    const containers = await clusterContainers(docker, this.name);
    const handle = async (machine: Machine): Promise<NodeHandle> => {
      const id = containers.get(machine.name)?.id ?? '';
      const info = await docker.getContainer(id).inspect();
      const address = info.NetworkSettings.Networks[this.name]?.IPAMConfig?.IPv4Address ?? '';
      return containerNode(client, machine.name, id, address);
    };
    const nodes = await Promise.all(workers.map(handle));
    // The cluster of `npm start` has its kubeconfig where a person looks for it.
    const kubeconfigPath = this.name === 'vmstead' ? join(stateDirectory, 'kubeconfig') : files.kubeconfig;
    if (kubeconfigPath !== files.kubeconfig) await copyFile(files.kubeconfig, kubeconfigPath);
    return {
      name: this.name,
      kubeconfigPath,
      nodes,
      controlPlane: await handle(controlPlane),
      auditLogPath: join(files.logs(controlPlane.name), 'audit.log'),
      node(name) {
        const found = nodes.find((node) => node.name === name);
        if (!found) throw new Error(`there is no node "${name}" in cluster "${clusterName}"`);
        return found;
      },
      loadImages: (references) => loadImages(docker, savedImages, nodes, references),
    };
  }

  async #remove(client: ContainerRuntimeClient): Promise<void> {
    const docker = client.container.dockerode;
    const containers = await clusterContainers(docker, this.name);
    // Ours are those of our files (volumes) and of our device nodes (with which the kubelet holds block volumes).
    const detach = `(${listLoops('/opt/volumes /dev')}) | while read -r _ _ name; do losetup --detach "$name"; done`;
    for (const container of containers.values()) {
      if (container.state !== 'running') continue;
      await client.container.exec(client.container.getById(container.id), ['/bin/bash', '-c', detach], {
        log: false,
      });
    }
    await Promise.all([...containers.values()].map((container) => removeContainer(docker, container.id)));
    await removeNetworks(docker, this.name);
  }

  async stop(report: Report = () => {}): Promise<void> {
    const client = await connectDocker();
    report(`removing cluster "${this.name}"`);
    await this.#remove(client);
  }
}
