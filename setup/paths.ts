import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  CONTAINERD_VERSION,
  COREDNS_VERSION,
  HELM_VERSION,
  KUBERNETES_VERSION,
  LOCAL_PATH_PROVISIONER_VERSION,
  PROMETHEUS_VERSION,
  REGISTRY_VERSION,
} from './versions.ts';

/** The checkout's root folder. */
export const root = resolve(import.meta.dirname, '..');

/** State of this checkout that is not in git: kubeconfig, logs, cluster files. */
export const stateDirectory = join(root, '.vmstead');

/** What is built once per machine and shared by all checkouts (override: `VMSTEAD_CACHE`). */
export const cacheDirectory = process.env.VMSTEAD_CACHE ?? join(homedir(), '.cache', 'vmstead');

/** A short hash over strings, for names of cached things. */
export function contentKey(...parts: string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:${part}`);
  return hash.digest('hex').slice(0, 12);
}

const kubernetesModule = join(root, 'setup', 'kubernetes');

/** The Go module of the test cluster's CSI driver. */
export const csiModule = join(root, 'setup', 'csi');

/** Folders of binaries in the cache; each is complete as soon as it exists (made aside, then renamed). */
export const binaries = {
  kubernetes: join(
    cacheDirectory,
    `kubernetes-${KUBERNETES_VERSION}-${contentKey(readFileSync(join(kubernetesModule, 'go.mod'), 'utf8'))}`,
  ),
  etcd: join(cacheDirectory, 'etcd-trixie'),
  containerd: join(cacheDirectory, `containerd-${CONTAINERD_VERSION}`),
  helm: join(cacheDirectory, `helm-${HELM_VERSION}`),
  promtool: join(cacheDirectory, `promtool-${PROMETHEUS_VERSION}`),
  registry: join(cacheDirectory, `registry-${REGISTRY_VERSION}`),
  coredns: join(cacheDirectory, `coredns-${COREDNS_VERSION}`),
  kstatus: join(
    cacheDirectory,
    `kstatus-${contentKey(...['go.sum', 'main.go'].map((file) => readFileSync(join(root, 'setup', 'kstatus', file), 'utf8')))}`,
  ),
  csi: join(
    cacheDirectory,
    `csi-${contentKey(...readdirSync(csiModule).map((file) => readFileSync(join(csiModule, file), 'utf8')))}`,
  ),
  localPathProvisioner: join(cacheDirectory, `local-path-provisioner-${LOCAL_PATH_PROVISIONER_VERSION}`),
};

export type BinaryFolder = keyof typeof binaries;

/**
 * The path of a binary that the set-up made.
 *
 * @throws Error naming the command to run when it is not there yet
 */
export function binary(folder: BinaryFolder, name: string): string {
  const path = join(binaries[folder], name);
  if (!existsSync(path)) {
    throw new Error(`${name} is not built yet (${path}): run "npm start" or "npm test" once, they set it up`);
  }
  return path;
}
