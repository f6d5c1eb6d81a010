import { kubectl } from './kubectl.ts';
import type { Cluster, NodeHandle } from './provider.ts';

/** A volume that a test made; `await using` removes it from the API and from the nodes. */
export interface TestVolume extends AsyncDisposable {
  /** Name of the PersistentVolume; claims name it in `volumeName`. */
  readonly name: string;
  /** Device on its node, for a block volume. */
  readonly device?: string;
}

/** Volumes below this class are never provisioned: a claim names class and volume. */
export const staticStorageClass = 'static';

/** Folder of loop devices' files on a node: in a volume of its own, off the container's overlay. */
const imageFolder = '/opt/volumes/block';

async function mustExec(node: NodeHandle, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await node.exec(`set -e\n${script}`);
  if (exitCode !== 0) throw new Error(`on ${node.name}: ${(stdout + stderr).trim()}`);
  return stdout.trim();
}

async function applyVolume(cluster: Cluster, name: string, spec: object): Promise<void> {
  const volume = {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: { storageClassName: staticStorageClass, persistentVolumeReclaimPolicy: 'Retain', ...spec },
  };
  await kubectl(cluster.kubeconfigPath, ['apply', '--filename', '-'], JSON.stringify(volume));
}

async function removeVolume(cluster: Cluster, name: string): Promise<void> {
  await kubectl(cluster.kubeconfigPath, [
    'delete',
    'persistentvolume',
    name,
    '--ignore-not-found',
    '--wait=false',
  ]);
}

const onlyOn = (node: NodeHandle): object => ({
  required: {
    nodeSelectorTerms: [
      { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node.name] }] },
    ],
  },
});

/**
 * A block volume: a loop device on one node, root:disk 0660 as real disks are.
 *
 * @param mebibytes its size
 * @throws Error with what the node said when it has no free loop device
 */
export async function createBlockVolume(
  cluster: Cluster,
  node: NodeHandle,
  name: string,
  mebibytes: number,
): Promise<TestVolume> {
  const file = `${imageFolder}/${name}.img`;
  const device = await mustExec(
    node,
    `mkdir -p ${imageFolder}
    truncate --size ${mebibytes}M ${file}
    free=$(losetup --find)
    [[ -e $free ]] || { mknod --mode 0660 "$free" b 7 "\${free#/dev/loop}"; chgrp disk "$free"; }
    losetup "$free" ${file}
    echo "$free"`,
  );
  await applyVolume(cluster, name, {
    capacity: { storage: `${mebibytes}Mi` },
    accessModes: ['ReadWriteOnce', 'ReadWriteMany'],
    volumeMode: 'Block',
    local: { path: device },
    nodeAffinity: onlyOn(node),
  });
  return {
    name,
    device,
    async [Symbol.asyncDispose]() {
      await removeVolume(cluster, name);
      await mustExec(node, `losetup --detach ${device} || true; rm -f ${file}`);
    },
  };
}

/**
 * A filesystem volume that can be full: a loop device with ext4 on one node.
 *
 * @param mebibytes what fits into it, about
 */
export async function createSmallVolume(
  cluster: Cluster,
  node: NodeHandle,
  name: string,
  mebibytes: number,
): Promise<TestVolume & { readonly path: string }> {
  const file = `${imageFolder}/${name}.img`;
  const path = `/var/lib/small/${name}`;
  await mustExec(
    node,
    `mkdir -p ${imageFolder} ${path}
    truncate --size ${mebibytes + 2}M ${file}
    mkfs.ext4 -q -m 0 -O ^has_journal ${file}
    mount -o loop ${file} ${path}
    chmod 0777 ${path}`,
  );
  await applyVolume(cluster, name, {
    capacity: { storage: `${mebibytes}Mi` },
    accessModes: ['ReadWriteOnce'],
    volumeMode: 'Filesystem',
    local: { path },
    nodeAffinity: onlyOn(node),
  });
  return {
    name,
    path,
    async [Symbol.asyncDispose]() {
      await removeVolume(cluster, name);
      await mustExec(node, `umount ${path} || true; rm -f ${file}`);
    },
  };
}

/**
 * A shared filesystem volume, on every node the same folder.
 *
 * @param lockDomains `one`: file locks of one node hold on the others, as on good shared storage. `each-node`: a FUSE
 *   mount on each node, so that nobody sees another node's locks.
 */
export async function createSharedVolume(
  cluster: Cluster,
  name: string,
  mebibytes: number,
  lockDomains: 'one' | 'each-node' = 'one',
): Promise<TestVolume> {
  const folder = `/var/lib/shared/${name}`;
  const path = lockDomains === 'one' ? folder : `/var/lib/shared-fuse/${name}`;
  for (const node of cluster.nodes) {
    await mustExec(node, `mkdir -p ${folder} && chmod 0777 ${folder}`);
    if (lockDomains === 'each-node')
      await mustExec(node, `mkdir -p ${path} && bindfs -o allow_other ${folder} ${path}`);
  }
  await applyVolume(cluster, name, {
    capacity: { storage: `${mebibytes}Mi` },
    accessModes: ['ReadWriteOnce', 'ReadWriteMany'],
    volumeMode: 'Filesystem',
    hostPath: { path, type: 'Directory' },
  });
  return {
    name,
    async [Symbol.asyncDispose]() {
      await removeVolume(cluster, name);
      for (const node of cluster.nodes)
        await mustExec(node, `umount ${path} 2> /dev/null || true; rm -rf ${folder}`);
    },
  };
}
