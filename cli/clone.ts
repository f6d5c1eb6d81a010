/** `clone`: a new VM from a snapshot of another one, by way of images of its disks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { API_VERSION } from '../crds/api.ts';
import { VmsteadError } from '../crds/errors.ts';
import { type StoredImage, virtualmachineimages } from '../operator/image/resources.ts';
import { orNotFound } from '../operator/kube/errors.ts';
import { type PersistentVolumeClaim, persistentvolumeclaims } from '../operator/kube/resources.ts';
import { virtualmachinesnapshots } from '../operator/snapshot/resources.ts';
import { claimName } from '../operator/virtual-machine/names.ts';
import { type StoredVirtualMachine, virtualmachines } from '../operator/virtual-machine/resources.ts';
import { CLI_NAME, type Cluster, connect, getVm } from './cluster.ts';
import type { Invocation } from './invocation.ts';
import { create, follow } from './snapshot.ts';
import { usage } from './usage.ts';
import { parseDuration, vmName } from './values.ts';

const DEFAULT_TIMEOUT = '30m';
const LOOK_MS = 1000;
/** Longest name of an image. */
const LONGEST_NAME = 50;

type Spec = StoredVirtualMachine['spec'];
type Disk = NonNullable<Spec['disks']>[number];

/** Disks that Vmstead made, which are what a snapshot has. */
const isOwn = ({ source, device }: Disk): boolean =>
  device !== 'cdrom' && (source?.blank !== undefined || source?.image !== undefined);

export const imageName = (vm: string, disk: string): string => `${vm}-${disk}`;

/** The spec of a clone: the same machine without what is the identity of the other one. Pure. */
export function clonedSpec(spec: Spec, name: string, linked: boolean): Spec {
  const { firmware, networks, cloudInit, disks, ...rest } = spec;
  const { uuid: _uuid, serial: _serial, ...ownFirmware } = firmware ?? {};
  const { hostname: _hostname, ...ownCloudInit } = cloudInit ?? {};
  return {
    ...rest,
    ...(Object.keys(ownFirmware).length === 0 ? {} : { firmware: ownFirmware }),
    ...(cloudInit ? { cloudInit: ownCloudInit } : {}),
    ...(networks ? { networks: networks.map(({ macAddress: _, ...network }) => network) } : {}),
    ...(disks ? { disks: disks.map((disk) => clonedDisk(disk, name, linked)) } : {}),
  };
}

function clonedDisk(disk: Disk, name: string, linked: boolean): Disk {
  if (!isOwn(disk)) return disk;
  const { preallocate: _, ...rest } = disk;
  const image = { name: imageName(name, disk.name), ...(linked ? { clone: 'Linked' as const } : {}) };
  return { ...rest, source: { image } };
}

export async function clone({ options, names, io }: Invocation): Promise<void> {
  const deadline = Date.now() + parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  const [from, to] = [vmName(names[0] ?? ''), vmName(names[1] ?? '')];
  const cluster = await connect(options);
  const { client, namespace } = cluster;
  const vm = await getVm(cluster, from);
  const disks = (vm.spec.disks ?? []).filter(isOwn);
  refuse(vm, from, to, disks);
  if (await orNotFound(client.get(virtualmachines, { namespace, name: to }))) {
    throw usage(`there is a VM ${to} already; give the clone another name`, 'clone');
  }
  const left = () => Math.max(1000, deadline - Date.now());

  let snapshot = options.snapshot;
  if (snapshot === undefined) {
    const spec = { virtualMachine: from };
    const made = await create(cluster, virtualmachinesnapshots, from, spec);
    await follow(cluster, virtualmachinesnapshots, made, left(), ['Ready'], io.note);
    snapshot = made.metadata.name;
  }
  const images: StoredImage[] = [];
  for (const disk of disks) images.push(await createImage(cluster, to, disk, snapshot));
  for (const image of images) {
    await follow(cluster, virtualmachineimages, image, left(), ['Ready'], io.note);
  }
  const { labels } = vm.metadata;
  await client.create(
    virtualmachines,
    {
      apiVersion: API_VERSION,
      kind: 'VirtualMachine',
      metadata: { namespace, name: to, ...(labels ? { labels: { ...labels } } : {}) },
      spec: clonedSpec(vm.spec, to, options.linked === true),
    },
    { strict: true, fieldManager: CLI_NAME },
  );
  io.note(`VM ${to} is made; its disks take over`);
  for (const [index, disk] of disks.entries()) {
    await taken(cluster, images[index]!, claimName(to, disk.name), deadline);
  }
  // What the disks still need of the images stays, as it now belongs to their claims.
  if (!options.linked) {
    for (const { metadata } of images) {
      await orNotFound(client.delete(virtualmachineimages, { namespace, name: metadata.name }));
    }
  }
  if (options.snapshot === undefined) {
    await orNotFound(client.delete(virtualmachinesnapshots, { namespace, name: snapshot }));
  }
  io.print(`VM ${to} is a clone of ${from}${options.linked ? ', linked to the images of its disks' : ''}`);
}

function refuse({ spec }: StoredVirtualMachine, from: string, to: string, disks: readonly Disk[]): void {
  if (disks.length === 0) {
    throw usage(`VM ${from} has no disk that Vmstead made; apply its manifest under another name`, 'clone');
  }
  const named = (spec.disks ?? []).find(
    (disk) => disk.source?.claim !== undefined && disk.device !== 'cdrom',
  );
  if (named !== undefined) {
    throw usage(
      `disk ${named.name} of VM ${from} is in a claim of your own, which Vmstead does not copy; clone that claim by its storage`,
      'clone',
    );
  }
  const long = disks.find(({ name }) => imageName(to, name).length > LONGEST_NAME);
  if (long !== undefined) {
    throw usage(
      `${imageName(to, long.name)} is too long for the image of a disk; take a shorter name`,
      'clone',
    );
  }
}

async function createImage(
  { client, namespace }: Cluster,
  to: string,
  { name, claim }: Disk,
  snapshot: string,
): Promise<StoredImage> {
  const { reclaimPolicy: _, ...template } = claim ?? {};
  return await client.create(
    virtualmachineimages,
    {
      apiVersion: API_VERSION,
      kind: 'VirtualMachineImage',
      metadata: { namespace, name: imageName(to, name) },
      spec: { source: { snapshot: { name: snapshot, disk: name } }, claim: template },
    },
    { strict: true, fieldManager: CLI_NAME },
  );
}

/** Waits until the image's claim is kept by the disk's, or is not needed (any more). Throws VmsteadError: Timeout. */
async function taken(
  { client, namespace }: Cluster,
  image: StoredImage,
  disk: string,
  deadline: number,
): Promise<void> {
  for (;;) {
    const now = await orNotFound(client.get(virtualmachineimages, { namespace, name: image.metadata.name }));
    const name = now?.status?.claimName;
    const [own, base] = await Promise.all(
      [disk, name].map((each) =>
        each === undefined
          ? undefined
          : orNotFound(client.get(persistentvolumeclaims, { namespace, name: each })),
      ),
    );
    if (own && (!base || keeps(base, own))) return;
    if (Date.now() > deadline) {
      throw new VmsteadError(
        'Timeout',
        `the claim ${disk} of the clone was not made in time; it goes on, and the image ${image.metadata.name} is left: kubectl describe vm`,
      );
    }
    await sleep(LOOK_MS);
  }
}

function keeps(base: PersistentVolumeClaim, disk: PersistentVolumeClaim): boolean {
  return base.metadata.ownerReferences?.some(({ uid }) => uid === disk.metadata.uid) === true;
}
