/** Spec and what was observed → machine description: everything that the launcher needs to know. */
import {
  type MachineBase,
  type MachineDescription,
  type MachineDisk,
  POD_PATH,
} from '../../crds/machine-description.ts';
import { IMAGE_FILE, type ImageFormat } from '../../crds/mover.ts';
import { parseBytes } from '../../crds/quantity.ts';
import type { DiskSpec, VirtualMachineSpec } from '../../crds/virtual-machine.ts';
import { deriveMac, deriveSerial } from './names.ts';
import { TRANSLATION_BUFFER_MIB } from './overhead.ts';
import type { Resolved } from './resolve.ts';

/** Bytes that a throw-away overlay may grow to where the spec does not say. */
export const DEFAULT_OVERLAY = '1Gi';

/** Root ports for devices that come while the VM runs. */
const HOTPLUG_PORTS = 4;

/** Port of a launcher's /metrics on the pod's IP. */
export const METRICS_PORT = 9095;

/** What is known of a disk's claim when the machine is described. */
export interface DiskClaim {
  volumeMode: 'Filesystem' | 'Block';
  /** Bytes that the claim was made for. */
  bytes: number;
  /** The storage made it as a copy of an image in this format. */
  clone?: 'raw' | 'qcow2';
  /** The image that the disk still needs, or that is in the drive. */
  base?: {
    image: string;
    claimName: string;
    /** The disk for which the claim is mounted: two disks may be made from one image. */
    mount: string;
    volumeMode: 'Filesystem' | 'Block';
    format: ImageFormat;
    bytes: number;
    virtualBytes: number;
    flatten: boolean;
  };
}

export interface MachineInput {
  namespace: string;
  name: string;
  uid: string;
  incarnation: number;
  spec: VirtualMachineSpec;
  resolved: Resolved;
  /** By disk name; without a claim there is no entry. */
  claims: ReadonlyMap<string, DiskClaim>;
  channel: MachineDescription['channel'];
}

/** Describes the machine of one life of a VM, as it is inside its launcher pod. */
export function describeMachine(input: MachineInput): MachineDescription {
  const { namespace, name, spec, resolved } = input;
  const description: MachineDescription = {
    version: 1,
    vm: { namespace, name, uid: input.uid },
    incarnation: input.incarnation,
    hostname: name,
    uuid: resolved.uuid,
    machineType: resolved.machineType,
    accelerator: resolved.accelerator,
    cpu: {
      model: resolved.cpuModel,
      sockets: resolved.sockets,
      cores: resolved.cores,
      threads: resolved.threads,
    },
    memoryMiB: resolved.memoryMiB,
    firmware:
      resolved.firmware === 'UEFI'
        ? { type: 'UEFI', variables: `${POD_PATH.state}/uefi-variables.fd` }
        : { type: 'BIOS' },
    disks: (spec.disks ?? []).map((disk) => describeDisk(input, disk)),
    networks: (spec.networks ?? []).map((network) => ({
      name: network.name,
      model: network.model ?? 'virtio',
      mac: network.macAddress ?? deriveMac(namespace, name, network.name),
      ports: (network.ports ?? []).map(({ port, protocol }) => ({ protocol: protocol ?? 'TCP', port })),
    })),
    hotplugPorts: HOTPLUG_PORTS,
    terminationGracePeriodSeconds: resolved.graceSeconds,
    metricsPort: METRICS_PORT,
  };
  // Each thread needs a queue, and a disk has one for each vCPU.
  const ioThreads = Math.min(spec.ioThreads ?? 0, resolved.vcpus);
  if (ioThreads > 0) description.ioThreads = ioThreads;
  if (spec.firmware?.serial !== undefined) description.serial = spec.firmware.serial;
  if (resolved.accelerator === 'tcg') description.translationBufferMiB = TRANSLATION_BUFFER_MIB;
  if (spec.kernel) {
    const { path, initrdPath, commandLine } = spec.kernel;
    description.kernel = { path: `${POD_PATH.kernel}${path}` };
    if (initrdPath !== undefined) description.kernel.initrd = `${POD_PATH.kernel}${initrdPath}`;
    if (commandLine !== undefined) description.kernel.commandLine = commandLine;
  }
  const cloudInit = describeCloudInit(input);
  if (cloudInit) description.cloudInit = cloudInit;
  if (input.channel) description.channel = input.channel;
  return description;
}

function describeDisk(input: MachineInput, disk: DiskSpec): MachineDisk {
  const device = disk.device ?? 'disk';
  const described: MachineDisk = {
    name: disk.name,
    device,
    bus: disk.bus ?? (device === 'cdrom' ? 'sata' : 'virtio'),
    serial: disk.serial ?? deriveSerial(input.namespace, input.name, disk.name),
    readOnly: device === 'cdrom' || disk.readOnly === true || filesOf(disk) !== undefined,
  };
  const { source } = disk;
  const named = source && sourceName(source);
  if (named !== undefined) described.source = named;
  if (source !== undefined) described.backend = describeBackend(input, disk, source);
  if (disk.bootOrder !== undefined) described.bootIndex = disk.bootOrder;
  if (disk.shareable) described.shareable = true;
  if (disk.cache !== undefined) described.cache = disk.cache;
  if (disk.aio !== undefined) described.aio = disk.aio;
  const limits = describeLimits(disk.limits);
  if (limits !== undefined) described.limits = limits;
  return described;
}

/** What of the spec is behind a path in the pod; nothing for a disk that is empty at first. */
function sourceName(source: NonNullable<DiskSpec['source']>): string | undefined {
  const { claim, image, containerImage, ephemeral, configMap, secret, downwardAPI, sysprep } = source;
  if (claim) return `claim ${claim.name}`;
  if (image) return `image ${image.name}`;
  if (containerImage) return `containerImage ${containerImage.image}`;
  if (ephemeral) return `ephemeral ${sourceName(ephemeral)}`;
  if (configMap) return `configMap ${configMap.name}`;
  if (secret) return `secret ${secret.secretName}`;
  if (sysprep) return `sysprep ${sourceName(filesSource(sysprep))}`;
  if (downwardAPI)
    return `downwardAPI ${downwardAPI.fields.map(({ path, fieldRef }) => `${path}=${fieldRef.fieldPath}`).join(', ')}`;
  return undefined;
}

/** The files of a sysprep source, as a source of their own. */
const filesSource = ({ configMap, secret }: NonNullable<NonNullable<DiskSpec['source']>['sysprep']>) =>
  configMap ? { configMap } : { secret: { secretName: secret?.name ?? '' } };

/** Volume labels where the spec has none: KubeVirt's. */
const FILES_LABEL = 'cfgdata';
const ANSWERS_LABEL = 'unattendCD';

/** The file system that the launcher makes of files, where a disk is one. */
function filesOf({ name, source }: DiskSpec): MachineDisk['backend'] {
  const { sysprep } = source ?? {};
  const files = source?.configMap ?? source?.secret ?? source?.downwardAPI;
  if (files === undefined && sysprep === undefined) return undefined;
  return {
    type: 'files',
    directory: `${POD_PATH.files}/${name}`,
    label: files ? (files.volumeLabel ?? FILES_LABEL) : ANSWERS_LABEL,
    path: `${POD_PATH.run}/files-${name}.iso`,
    ...(sysprep ? { answers: true as const } : {}),
  };
}

/** Nothing where nothing is limited: taking the last limit away is the same as none ever. */
function describeLimits(limits: DiskSpec['limits']): MachineDisk['limits'] {
  const given = Object.entries(limits ?? {}).map(([name, value]) => [
    name,
    typeof value === 'string' ? Number(parseBytes(value)) : value,
  ]);
  return given.length === 0 ? undefined : (Object.fromEntries(given) as MachineDisk['limits']);
}

function describeBackend(
  input: MachineInput,
  disk: DiskSpec,
  { containerImage, blank, image, ephemeral }: NonNullable<DiskSpec['source']>,
): MachineDisk['backend'] {
  const files = filesOf(disk);
  if (files) return files;
  const overlay = {
    path: `${POD_PATH.scratch}/${disk.name}.qcow2`,
    maxBytes: Number(parseBytes((containerImage ?? ephemeral)?.overlaySize ?? DEFAULT_OVERLAY)),
  };
  if (containerImage) {
    const directory = `${POD_PATH.images}/${disk.name}`;
    return containerImage.path === undefined
      ? { type: 'image', directory, overlay }
      : { type: 'image', directory, path: containerImage.path, overlay };
  }
  const claim = input.claims.get(disk.name);
  if (ephemeral) {
    const base = ephemeral.image ? claim?.base && describeBase(claim.base) : claimBase(disk, claim);
    return base && { type: 'ephemeral', base, overlay };
  }
  if (image) return describeFromImage(disk, claim);
  if (claim?.volumeMode === 'Block') return { type: 'block', path: `${POD_PATH.blockDevices}/${disk.name}` };
  const path = `${POD_PATH.disks}/${disk.name}/disk.img`;
  if (!blank || !claim) return { type: 'file', path, format: 'raw' };
  const create = { maxBytes: claim.bytes, ...(disk.preallocate ? { preallocate: true as const } : {}) };
  return { type: 'file', path, format: 'raw', create };
}

/** A drive has the image itself in it; a disk is an overlay, for as long as it needs the image. */
function describeFromImage(disk: DiskSpec, claim: DiskClaim | undefined): MachineDisk['backend'] {
  const base = claim?.base && describeBase(claim.base);
  if (disk.device === 'cdrom') return base && { type: 'base', base };
  if (claim?.clone) return describeClone(disk, claim, claim.clone);
  const onBase = base ? { base, ...(claim?.base?.flatten ? { flatten: true as const } : {}) } : {};
  if (claim?.volumeMode === 'Block') {
    return { type: 'block', path: `${POD_PATH.blockDevices}/${disk.name}`, format: 'qcow2', ...onBase };
  }
  const path = `${POD_PATH.disks}/${disk.name}/disk.qcow2`;
  const create = claim ? { create: { maxBytes: claim.bytes } } : {};
  return { type: 'file', path, format: 'qcow2', ...create, ...onBase };
}

/** Its volume has the image's own file, or its bytes. */
function describeClone(
  { name }: DiskSpec,
  { volumeMode, bytes }: DiskClaim,
  format: 'raw' | 'qcow2',
): MachineDisk['backend'] {
  if (volumeMode === 'Block') {
    const path = `${POD_PATH.blockDevices}/${name}`;
    return { type: 'block', path, ...(format === 'qcow2' ? { format } : {}) };
  }
  const path = `${POD_PATH.disks}/${name}/${IMAGE_FILE[format]}`;
  return { type: 'file', path, format, create: { maxBytes: bytes, cloned: true } };
}

/** A raw disk in a claim that is only read. */
function claimBase({ name }: DiskSpec, claim: DiskClaim | undefined) {
  return claim?.volumeMode === 'Block'
    ? ({ type: 'block', path: `${POD_PATH.blockDevices}/${name}`, format: 'raw' } as const)
    : ({ type: 'file', path: `${POD_PATH.disks}/${name}/disk.img`, format: 'raw' } as const);
}

function describeBase({
  mount,
  volumeMode,
  format,
  bytes,
  virtualBytes,
}: NonNullable<DiskClaim['base']>): MachineBase {
  return volumeMode === 'Block'
    ? { type: 'block', path: `${POD_PATH.blockBases}/${mount}`, format, bytes, virtualBytes }
    : { type: 'file', path: `${POD_PATH.bases}/${mount}/${IMAGE_FILE[format]}`, format, bytes, virtualBytes };
}

function describeCloudInit({ name, uid, spec }: MachineInput): MachineDescription['cloudInit'] {
  const given = spec.cloudInit;
  if (!given) return undefined;
  const described: NonNullable<MachineDescription['cloudInit']> = {
    // A VM made anew under the same name is another instance: cloud-init then runs its once-per-instance parts.
    instanceId: uid,
    hostname: given.hostname ?? name,
    userData:
      given.userData !== undefined ? { inline: given.userData } : { file: `${POD_PATH.userData}/userdata` },
  };
  if (given.networkData !== undefined) described.networkData = { inline: given.networkData };
  else if (given.networkDataSecretRef)
    described.networkData = { file: `${POD_PATH.networkData}/networkdata` };
  return described;
}
