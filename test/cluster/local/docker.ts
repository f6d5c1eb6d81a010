import { setTimeout as sleep } from 'node:timers/promises';
import { type ContainerRuntimeClient, getContainerRuntimeClient } from 'testcontainers';

export type Docker = ContainerRuntimeClient['container']['dockerode'];

/** Labels on everything we make, so that we find (and end) it again without keeping books. */
export const labels = {
  cluster: 'io.vmstead.cluster',
  machine: 'io.vmstead.machine',
  checkout: 'io.vmstead.checkout',
  key: 'io.vmstead.key',
} as const;

/**
 * The connection to the Docker engine.
 *
 * @throws Error when no engine answers
 */
export async function connectDocker(): Promise<ContainerRuntimeClient> {
  // Our containers outlive the command that starts them; a reaper would end them (and its image must be pulled).
  process.env.TESTCONTAINERS_RYUK_DISABLED = 'true';
  return getContainerRuntimeClient();
}

/**
 * Every capability but CAP_SYS_RESOURCE: `--privileged` asks for that one too, and some sandboxes do not have it
 * to give.
 */
export const nodeCapabilities = [
  ...['AUDIT_CONTROL', 'AUDIT_READ', 'BLOCK_SUSPEND', 'DAC_READ_SEARCH', 'IPC_LOCK', 'IPC_OWNER', 'LEASE'],
  ...['LINUX_IMMUTABLE', 'MAC_ADMIN', 'MAC_OVERRIDE', 'NET_ADMIN', 'NET_BROADCAST', 'SYS_ADMIN', 'SYS_BOOT'],
  ...[
    'SYS_MODULE',
    'SYS_NICE',
    'SYS_PACCT',
    'SYS_PTRACE',
    'SYS_RAWIO',
    'SYS_TIME',
    'SYS_TTY_CONFIG',
    'SYSLOG',
  ],
  'WAKE_ALARM',
];

/** The containers of a cluster, running or not, by machine name. */
export async function clusterContainers(
  docker: Docker,
  cluster: string,
): Promise<Map<string, ContainerSummary>> {
  const list = await docker.listContainers({
    all: true,
    filters: { label: [`${labels.cluster}=${cluster}`] },
  });
  return new Map(
    list.map((info) => [
      info.Labels[labels.machine] ?? info.Id,
      {
        id: info.Id,
        state: info.State,
        key: info.Labels[labels.key] ?? '',
        checkout: info.Labels[labels.checkout] ?? '',
      },
    ]),
  );
}

export interface ContainerSummary {
  id: string;
  /** Docker's word: `running`, `paused`, `exited`, … */
  state: string;
  key: string;
  checkout: string;
}

/** Removes a container with its volumes; quiet when it is gone already. */
export async function removeContainer(docker: Docker, id: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await docker.getContainer(id).remove({ force: true, v: true });
      return;
    } catch (error) {
      const status = (error as { statusCode?: number }).statusCode;
      if (status === 404) return;
      // 409: another call is removing it; 500: a mount of a dying process is still busy.
      if ((status !== 409 && status !== 500) || attempt === 10) throw error;
      await sleep(500);
    }
  }
}

/** Takes the first /24 below 10.231.0.0/16 that no Docker network uses, and makes the cluster's own network there. */
export async function createNetwork(
  docker: Docker,
  cluster: string,
  tags: Record<string, string>,
): Promise<string> {
  const used = new Set<string>();
  for (const network of await docker.listNetworks()) {
    for (const config of network.IPAM?.Config ?? [])
      if (config.Subnet) used.add(config.Subnet.split('/')[0] ?? '');
  }
  for (let third = 1; third < 255; third++) {
    const prefix = `10.231.${third}`;
    if (used.has(`${prefix}.0`)) continue;
    await docker.createNetwork({
      Name: cluster,
      CheckDuplicate: true,
      // No route leads out of it.
      Internal: true,
      IPAM: { Driver: 'default', Config: [{ Subnet: `${prefix}.0/24` }] },
      Labels: tags,
    });
    return prefix;
  }
  throw new Error('no free network between 10.231.1.0/24 and 10.231.254.0/24: run "docker network prune"');
}

/** Removes the cluster's networks. */
export async function removeNetworks(docker: Docker, cluster: string): Promise<void> {
  const networks = await docker.listNetworks({ filters: { label: [`${labels.cluster}=${cluster}`] } });
  await Promise.all(networks.map((network) => docker.getNetwork(network.Id).remove()));
}

/** Names of the clusters that a checkout started. */
export async function localClusters(checkout: string): Promise<string[]> {
  const docker = (await connectDocker()).container.dockerode;
  const list = await docker.listContainers({
    all: true,
    filters: { label: [`${labels.checkout}=${checkout}`] },
  });
  return [...new Set(list.map((info) => info.Labels[labels.cluster] ?? ''))]
    .filter((name) => name !== '')
    .sort();
}

/** How many containers run, whoever started them. */
export async function runningContainers(): Promise<number> {
  const docker = (await connectDocker()).container.dockerode;
  return (await docker.listContainers()).length;
}
