import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeKubeconfig } from '../kubeconfig.ts';
import { createAuthority } from '../pki.ts';
import {
  auditPolicy,
  cniConfig,
  containerdConfig,
  controlPlane,
  controlPlaneServices,
  controlPlaneStorage,
  corefile,
  kubeletConfig,
  localPathConfig,
  type Machine,
  workerServices,
  workerStorage,
  workers,
} from './definition.ts';

/** Where a cluster keeps its files on this machine. */
export interface ClusterFiles {
  directory: string;
  kubeconfig: string;
  /** What a machine sees at /etc/vmstead. */
  machine(name: string): string;
  /** What a machine sees at /var/log/services. */
  logs(name: string): string;
  /** The same folder on every node: shared storage with one lock domain. */
  shared: string;
}

export function clusterFiles(directory: string): ClusterFiles {
  return {
    directory,
    kubeconfig: join(directory, 'kubeconfig'),
    machine: (name) => join(directory, 'machines', name),
    logs: (name) => join(directory, 'logs', name),
    shared: join(directory, 'shared'),
  };
}

/** @param kind `services` run from the start, `storage` from when somebody asks for it */
async function writeServices(
  folder: string,
  kind: 'services' | 'storage',
  services: Record<string, string>,
): Promise<void> {
  await mkdir(join(folder, kind), { recursive: true });
  for (const [name, script] of Object.entries(services)) await writeFile(join(folder, kind, name), script);
}

/** Writes certificates, kubeconfigs and configuration of a new cluster; what an older one left is removed. */
export async function writeClusterFiles(
  files: ClusterFiles,
  address: (machine: Machine) => string,
): Promise<void> {
  await rm(files.directory, { recursive: true, force: true });
  await mkdir(files.shared, { recursive: true });
  for (const machine of [controlPlane, ...workers]) {
    await mkdir(files.logs(machine.name), { recursive: true });
    await mkdir(join(files.machine(machine.name), 'pki'), { recursive: true });
  }
  const server = `https://${address(controlPlane)}:6443`;
  const controlPlaneFolder = files.machine(controlPlane.name);
  const authority = await createAuthority(join(controlPlaneFolder, 'pki'));
  const kubeconfig = async (path: string, name: string, subject: string): Promise<void> =>
    writeKubeconfig(path, server, authority.certificate, await authority.issue(name, subject));

  await Promise.all([
    authority.serviceAccountKey(),
    authority.issue('apiserver', '/CN=kube-apiserver', [
      ...['DNS:localhost', 'DNS:kubernetes', 'DNS:kubernetes.default', 'DNS:kubernetes.default.svc'],
      'DNS:kubernetes.default.svc.cluster.local',
      ...['IP:127.0.0.1', 'IP:10.96.0.1', `IP:${address(controlPlane)}`],
    ]),
    authority.issue('kubelet-client', '/O=system:masters/CN=kube-apiserver-kubelet-client'),
    kubeconfig(files.kubeconfig, 'admin', '/O=system:masters/CN=admin'),
    ...['kube-controller-manager', 'kube-scheduler', 'coredns', 'local-path-provisioner', 'csi'].map((name) =>
      kubeconfig(join(controlPlaneFolder, `${name}.kubeconfig`), name, `/CN=system:${name}`),
    ),
    ...workers.flatMap((machine) => {
      const folder = files.machine(machine.name);
      const subject = `/O=system:nodes/CN=system:node:${machine.name}`;
      return [
        kubeconfig(join(folder, 'kubelet.kubeconfig'), `kubelet-${machine.name}`, subject),
        kubeconfig(
          join(folder, 'kube-proxy.kubeconfig'),
          `kube-proxy-${machine.name}`,
          '/CN=system:kube-proxy',
        ),
      ];
    }),
    writeFile(join(controlPlaneFolder, 'audit-policy.json'), JSON.stringify(auditPolicy)),
    writeFile(join(controlPlaneFolder, 'Corefile'), corefile),
    writeFile(join(controlPlaneFolder, 'local-path.json'), JSON.stringify(localPathConfig)),
    writeServices(controlPlaneFolder, 'services', controlPlaneServices(address(controlPlane))),
    writeServices(controlPlaneFolder, 'storage', controlPlaneStorage()),
  ]);
  for (const machine of workers) {
    const folder = files.machine(machine.name);
    await Promise.all([
      copyFile(authority.certificate, join(folder, 'pki', 'ca.crt')),
      writeFile(join(folder, 'containerd.toml'), containerdConfig(machine)),
      writeFile(join(folder, 'kubelet.json'), JSON.stringify(kubeletConfig())),
      writeFile(join(folder, 'cni.conflist'), JSON.stringify(cniConfig(machine))),
      writeServices(folder, 'services', workerServices(machine, address(machine))),
      writeServices(folder, 'storage', workerStorage(machine)),
    ]);
  }
}
