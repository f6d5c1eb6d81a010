/**
 * The machine description: everything that was decided about one VM, in one JSON document. The operator
 * writes it, the launcher turns it into a QEMU process. It holds no secret: it travels as a pod annotation.
 */
import * as z from 'zod';
import { imageFormat } from './mover.ts';
import { restoreOrder } from './snapshot-order.ts';

/** Where things are in a launcher pod. Without a cluster the description names other paths. */
export const POD_PATH = {
  /** Projected volume: machine.json (the description) and token (for the channel). */
  config: '/etc/vmstead',
  machine: '/etc/vmstead/machine.json',
  token: '/etc/vmstead/token',
  /** tmpfs: sockets, pid files, the seed. */
  run: '/run/vmstead',
  /** emptyDir on disk: throw-away overlays, the serial log. */
  scratch: '/var/lib/vmstead',
  state: '/state',
  kernel: '/kernel',
  /** One mount a filesystem claim: /disks/<disk name>. */
  disks: '/disks',
  /** One device a block claim: /dev/vmstead/<disk name>. */
  blockDevices: '/dev/vmstead',
  /** One mount an image volume: /images/<disk name>. */
  images: '/images',
  /** One mount, read-only, a filesystem claim of a VirtualMachineImage: /bases/<disk name>. */
  bases: '/bases',
  /** One device, read-only, a block claim of a VirtualMachineImage: /dev/vmstead-bases/<disk name>. */
  blockBases: '/dev/vmstead-bases',
  /** One mount a ConfigMap, a Secret or a set of the pod's fields: /files/<disk name>. */
  files: '/files',
  userData: '/cloud-init/user-data',
  networkData: '/cloud-init/network-data',
  terminationLog: '/dev/termination-log',
} as const;

/** Room on the scratch volume for what a guest overwrites while a disk of it is exported. */
export const EXPORT_ROOM_MIB = 1024;

/** An image that is only read. QEMU is told its format and never looks for it. */
const base = z.strictObject({
  type: z.enum(['file', 'block']),
  path: z.string(),
  format: imageFormat,
  /** Length of the file, or of the image at the beginning of the device. */
  bytes: z.int(),
  /** Size of the disk that a guest sees. */
  virtualBytes: z.int(),
});

/** A disk that began as an image: a qcow2 overlay on it, made where the volume is empty. */
const onBase = {
  base: base.optional(),
  /** Copy the base into the overlay while the guest runs, and then let go of it. */
  flatten: z.literal(true).optional(),
};

const backend = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('file'),
    path: z.string(),
    format: z.enum(['raw', 'qcow2']),
    /** Make the file when the volume is empty: a sparse raw disk of at most so many bytes. */
    create: z
      .strictObject({
        maxBytes: z.int(),
        preallocate: z.literal(true).optional(),
        /** The storage has made it, as a copy of an image: it is there, and only grows. */
        cloned: z.literal(true).optional(),
      })
      .optional(),
    ...onBase,
  }),
  z.strictObject({
    type: z.literal('block'),
    path: z.string(),
    /** What is on the device; absent: raw. */
    format: z.literal('qcow2').optional(),
    ...onBase,
  }),
  /** The image itself, for a drive that is only read. */
  z.strictObject({ type: z.literal('base'), base }),
  /** A disk that came while the machine runs, exported by an attachment pod on the same node. */
  z.strictObject({
    type: z.literal('attached'),
    /** host:port of an NBD server that wants the key which the launcher has been given. */
    address: z.string(),
    export: z.string(),
  }),
  /** A throw-away overlay on what is only read: a VirtualMachineImage, or a raw disk whose size is looked at. */
  z.strictObject({
    type: z.literal('ephemeral'),
    base: base.partial({ bytes: true, virtualBytes: true }),
    overlay: z.strictObject({ path: z.string(), maxBytes: z.int() }),
  }),
  /** Files as a file system that is only read, made at the start. */
  z.strictObject({
    type: z.literal('files'),
    directory: z.string(),
    /** Label of the file system. */
    label: z.string(),
    /** Where the image is made. */
    path: z.string(),
    /** They are to have what Windows looks for. */
    answers: z.literal(true).optional(),
  }),
  z.strictObject({
    type: z.literal('image'),
    /** Folder of the image volume. */
    directory: z.string(),
    /** Path of the disk below `directory`; absent: the only file in its `disk` folder. */
    path: z.string().optional(),
    overlay: z.strictObject({ path: z.string(), maxBytes: z.int() }),
  }),
]);

/** Operations and bytes a second; one that is absent is not limited. */
export const diskLimits = z.strictObject({
  iops: z.int().optional(),
  readIops: z.int().optional(),
  writeIops: z.int().optional(),
  bandwidth: z.int().optional(),
  readBandwidth: z.int().optional(),
  writeBandwidth: z.int().optional(),
});
export type DiskLimits = z.infer<typeof diskLimits>;

export const machineDisk = z.strictObject({
  name: z.string(),
  device: z.enum(['disk', 'cdrom']),
  bus: z.enum(['virtio', 'scsi', 'sata', 'nvme', 'ide', 'usb']),
  bootIndex: z.int().optional(),
  serial: z.string(),
  readOnly: z.boolean(),
  /** Other machines write to it at the same time. */
  shareable: z.literal(true).optional(),
  cache: z.enum(['none', 'writeback', 'writethrough']).optional(),
  aio: z.enum(['threads', 'native', 'io_uring']).optional(),
  /** Live: changed while the machine runs. */
  limits: diskLimits.optional(),
  /** What of the spec is behind the backend's path, such as `claim tools-iso`. */
  source: z.string().optional(),
  /** Absent: an empty drive. */
  backend: backend.optional(),
  /** Live: the medium, which the pod has mounted, is not in the drive. */
  ejected: z.literal(true).optional(),
  /** Live: an attached disk that is to go. */
  unplugged: z.literal(true).optional(),
});

const network = z.strictObject({
  name: z.string(),
  model: z.enum(['virtio', 'e1000e']),
  mac: z.string(),
  /** Ports of the pod's IP that go to the same port of the guest. */
  ports: z.array(z.strictObject({ protocol: z.enum(['TCP', 'UDP']), port: z.int() })),
});

export const machineDescription = z.strictObject({
  version: z.literal(1),
  vm: z.strictObject({ namespace: z.string(), name: z.string(), uid: z.string() }),
  incarnation: z.int(),
  /** Counts the changes while the machine runs; absent: none yet. */
  revision: z.int().optional(),
  hostname: z.string(),
  uuid: z.string(),
  serial: z.string().optional(),
  /** Versioned, such as pc-q35-10.0. */
  machineType: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  /** TCG's buffer of translated code, in MiB; QEMU's own default is 1 GiB. */
  translationBufferMiB: z.int().optional(),
  cpu: z.strictObject({
    model: z.string(),
    sockets: z.int(),
    cores: z.int(),
    threads: z.int(),
    /** Features of the model that this QEMU does wrongly: they are left out. */
    without: z.array(z.string()).optional(),
  }),
  memoryMiB: z.int(),
  firmware: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('BIOS') }),
    z.strictObject({ type: z.literal('UEFI'), variables: z.string() }),
  ]),
  kernel: z
    .strictObject({ path: z.string(), initrd: z.string().optional(), commandLine: z.string().optional() })
    .optional(),
  disks: z.array(machineDisk),
  /** Threads that do the I/O of virtio and SCSI disks in the place of QEMU's main one; absent: none. */
  ioThreads: z.int().optional(),
  networks: z.array(network),
  cloudInit: z
    .strictObject({
      instanceId: z.string(),
      hostname: z.string(),
      /** Inline, or a file that the kubelet mounted. */
      userData: z.union([z.strictObject({ inline: z.string() }), z.strictObject({ file: z.string() })]),
      networkData: z
        .union([z.strictObject({ inline: z.string() }), z.strictObject({ file: z.string() })])
        .optional(),
    })
    .optional(),
  /** Empty PCIe root ports kept for devices that come later; they cannot be added to a running machine. */
  hotplugPorts: z.int(),
  /** Seconds that the guest has after the power button. */
  terminationGracePeriodSeconds: z.int(),
  /** `Layers`: no guest at all. The launcher looks after the layers of the disks of a VM that is off, as it is told. */
  task: z.literal('Layers').optional(),
  /** A snapshot to go back to before the guest runs; carried out once. */
  restore: restoreOrder.optional(),
  /** TCP port of /metrics on the pod's IP. */
  metricsPort: z.int().optional(),
  /** How the operator is reached; absent without a cluster. */
  channel: z
    .strictObject({
      /** host:port, tried in turn. */
      addresses: z.array(z.string()),
      serverName: z.string(),
      /** PEM. */
      caCertificate: z.string(),
    })
    .optional(),
});

export type MachineDescription = z.infer<typeof machineDescription>;
export type MachineDisk = MachineDescription['disks'][number];
/** An image below a disk, or in a drive. */
export type MachineBase = z.infer<typeof base>;
export type MachineNetwork = MachineDescription['networks'][number];

/**
 * How a run ended, as the launcher writes it into its termination message.
 * Failures are what RerunOnFailure reruns and what counts for the crash back-off.
 */
export const runResult = z.enum([
  'GuestPowerOff',
  'GuestPanic',
  'Stopped',
  'StoppedForced',
  'Disowned',
  'QemuKilled',
  'QemuFailed',
  'MachineRefused',
  'DiskBusy',
  'DiskUnusable',
  'SnapshotUnusable',
]);

export type RunResult = z.infer<typeof runResult>;

export const terminationMessage = z.strictObject({
  result: runResult,
  /** An error code of docs/errors.md, where one applies. */
  code: z.string().optional(),
  message: z.string().max(2048),
  at: z.string(),
});

export type TerminationMessage = z.infer<typeof terminationMessage>;
