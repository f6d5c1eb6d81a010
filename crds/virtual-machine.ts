/** VirtualMachine: one object, one pod, one status that tells the truth. */
import * as z from 'zod';
import { API_VERSION } from './api.ts';
import {
  condition,
  containerImageFields,
  dnsLabel,
  objectMeta,
  objectName,
  podTemplate,
} from './kubernetes.ts';
import { bytesBetween, cpuQuantity } from './quantity.ts';
import {
  atomicList,
  described,
  exactlyOne,
  integer,
  listMap,
  matching,
  rule,
  text,
  transition,
} from './schema.ts';

export const runStrategy = z.enum(['Always', 'RerunOnFailure', 'Once', 'Manual', 'Halted']);

const machine = z.strictObject({
  type: described(
    'QEMU machine type: q35, or a versioned one such as pc-q35-10.0. The version is pinned in status.resolved at the first start.',
    matching(
      /^(q35|pc-q35-[0-9]{1,2}\.[0-9]{1,2})$/,
      32,
      'must be q35 or a versioned q35 such as pc-q35-10.0',
    ),
  ).optional(),
});

const MAX_VCPUS = 256;

const cpu = rule(
  z.strictObject({
    sockets: described('Sockets. Absent: 1.', integer(1, MAX_VCPUS)).optional(),
    cores: described('Cores in each socket. Absent: 1.', integer(1, MAX_VCPUS)).optional(),
    threads: described('Threads in each core. Absent: 1.', integer(1, 8)).optional(),
    model: described(
      "CPU model as QEMU names it, or host. Absent: the node's own CPU under KVM, QEMU's fullest under emulation.",
      matching(
        /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
        64,
        'must be a CPU model as QEMU names it, such as host or EPYC-Rome',
      ),
    ).optional(),
  }),
  `(has(self.sockets) ? self.sockets : 1) * (has(self.cores) ? self.cores : 1) * (has(self.threads) ? self.threads : 1) <= ${MAX_VCPUS}`,
  `sockets × cores × threads must be at most ${MAX_VCPUS}`,
  ({ sockets = 1, cores = 1, threads = 1 }) => sockets * cores * threads <= MAX_VCPUS,
);

const memory = z.strictObject({
  size: described('Memory of the guest, such as 2Gi.', bytesBetween('16Mi', '16Ti', 'memory')),
});

const firmware = z.strictObject({
  type: described(
    'BIOS (absent) or UEFI, whose variables are kept in the state claim.',
    z.enum(['BIOS', 'UEFI']),
  ).optional(),
  uuid: described(
    "SMBIOS UUID. Absent: derived from the VM's namespace and name.",
    matching(
      /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
      36,
      'must be a UUID in lower case, such as 6b0a5c1e-9a4f-4e0e-8f43-0b8a3a8f3a10',
    ),
  ).optional(),
  serial: described('SMBIOS serial number.', text(64, 1)).optional(),
});

const accessMode = z.enum(['ReadWriteOnce', 'ReadWriteOncePod', 'ReadWriteMany']);
const reclaimPolicy = described(
  'Retain (absent): the claim stays when the VM is deleted. Delete: it goes with the VM, and the data with it.',
  z.enum(['Retain', 'Delete']),
);

const claimTemplate = transition(
  z.strictObject({
    size: described('Size of the claim, such as 10Gi.', bytesBetween('1Mi', '1024Ti', 'the size of a claim')),
    storageClassName: described("Storage class. Absent: the cluster's default.", objectName()).optional(),
    accessModes: described('Absent: ReadWriteOnce.', atomicList(accessMode, 3, 1)).optional(),
    volumeMode: described('Filesystem (absent) or Block.', z.enum(['Filesystem', 'Block'])).optional(),
    reclaimPolicy: reclaimPolicy.optional(),
  }),
  [
    'quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0',
    'has(self.storageClassName) == has(oldSelf.storageClassName)',
    '(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)',
    'has(self.accessModes) == has(oldSelf.accessModes)',
    '(!has(self.accessModes) || self.accessModes == oldSelf.accessModes)',
    'has(self.volumeMode) == has(oldSelf.volumeMode)',
    '(!has(self.volumeMode) || self.volumeMode == oldSelf.volumeMode)',
  ].join(' && '),
  'a claim cannot shrink, nor change its storageClassName, accessModes or volumeMode; add a disk with another name instead',
);

const state = z.strictObject({
  size: described(
    'Size of the claim that keeps UEFI variables.',
    bytesBetween('8Mi', '16Ti', 'the size of the state claim'),
  ),
  storageClassName: described("Storage class. Absent: the cluster's default.", objectName()).optional(),
  accessModes: described('Absent: ReadWriteOnce.', atomicList(accessMode, 3, 1)).optional(),
  reclaimPolicy: reclaimPolicy.optional(),
});

const pathInImage = (what: string) =>
  matching(
    /^\/([A-Za-z0-9_+-][A-Za-z0-9._+-]*\/)*[A-Za-z0-9_+-][A-Za-z0-9._+-]*$/,
    255,
    `must be the absolute path of ${what} in the image, without .. or special characters`,
  );

const kernel = z.strictObject({
  ...containerImageFields,
  path: described('Path of the kernel in the image.', pathInImage('the kernel')),
  initrdPath: described(
    'Path of the initial RAM disk in the image.',
    pathInImage('the initial RAM disk'),
  ).optional(),
  commandLine: described("The kernel's command line.", text(2047)).optional(),
});

const diskSource = exactlyOne(
  z.strictObject({
    claim: described(
      'A PersistentVolumeClaim of this namespace that is there already. A filesystem must hold the disk as disk.img (raw).',
      z.strictObject({ name: objectName() }),
    ).optional(),
    blank: described(
      'An empty disk in a claim that Vmstead makes once and never empties again.',
      z.strictObject({}),
    ).optional(),
    containerImage: described(
      'A disk in an OCI image, mounted as an image volume. What the guest writes goes to an overlay that is thrown away with the pod.',
      z.strictObject({
        ...containerImageFields,
        path: described(
          'Path of the disk in the image. Absent: the only file in /disk.',
          pathInImage('the disk'),
        ).optional(),
        overlaySize: described(
          'Most that the guest may write before its disk is full. Absent: 1Gi.',
          bytesBetween('1Mi', '16Ti', 'overlaySize'),
        ).optional(),
      }),
    ).optional(),
  }),
  ['claim', 'blank', 'containerImage'],
  'must have exactly one of claim, blank or containerImage',
);

const disk = transition(
  rule(
    rule(
      rule(
        z.strictObject({
          name: described('Name of the disk in this VM.', dnsLabel(30)),
          device: described('disk (absent) or cdrom.', z.enum(['disk', 'cdrom'])).optional(),
          bus: described(
            'virtio (absent, for a disk), scsi or sata (absent, for a cdrom).',
            z.enum(['virtio', 'scsi', 'sata']),
          ).optional(),
          bootOrder: described(
            'Place in the order in which the firmware tries devices, from 1.',
            integer(1, 1000),
          ).optional(),
          serial: described(
            'Serial number that the guest sees. Absent: derived from the name.',
            matching(
              /^[A-Za-z0-9_.-]{1,20}$/,
              20,
              'must be 1 to 20 letters, digits, dots, hyphens or underscores',
            ),
          ).optional(),
          readOnly: described('The guest cannot write.', z.boolean()).optional(),
          source: described('Where the data are: exactly one member.', diskSource),
          claim: described('The claim to make, for a source that needs one.', claimTemplate).optional(),
        }),
        'has(self.source.blank) == has(self.claim)',
        'a blank disk needs a claim block with a size, and no other source takes one: an existing claim keeps its own size and class',
        (value) => (value.source.blank !== undefined) === (value.claim !== undefined),
      ),
      "!has(self.device) || self.device != 'cdrom' || !has(self.source.blank)",
      'a cdrom cannot be blank; give it a claim or containerImage source',
      (value) => value.device !== 'cdrom' || value.source.blank === undefined,
    ),
    "!has(self.device) || self.device != 'cdrom' || !has(self.bus) || self.bus != 'virtio'",
    'a cdrom needs bus sata or scsi: there is no virtio cdrom',
    (value) => value.device !== 'cdrom' || value.bus !== 'virtio',
  ),
  'has(self.source.blank) == has(oldSelf.source.blank)',
  'a disk that Vmstead keeps in a claim of its own cannot change its source; add a disk with another name instead',
);

const port = z.strictObject({
  name: described('Name of the port.', dnsLabel(15)),
  port: described("Port of the guest, and of the pod's IP.", integer(1, 65535)),
  protocol: described('TCP (absent) or UDP.', z.enum(['TCP', 'UDP'])).optional(),
});

const ports = rule(
  listMap(port, 'name', 64),
  'self.all(a, self.exists_one(b, a.port == b.port && (has(a.protocol) ? a.protocol : "TCP") == (has(b.protocol) ? b.protocol : "TCP")))',
  'two ports have the same number and protocol',
  (list) => new Set(list.map((each) => `${each.port}/${each.protocol ?? 'TCP'}`)).size === list.length,
);

const network = exactlyOne(
  z.strictObject({
    name: described('Name of the network in this VM.', dnsLabel(30)),
    pod: described("The pod's network: the VM answers on the pod's IP.", z.strictObject({})).optional(),
    model: described('Network card: virtio (absent) or e1000e.', z.enum(['virtio', 'e1000e'])).optional(),
    macAddress: described(
      "MAC address of the guest's card. Absent: derived from the VM's namespace and name.",
      matching(
        /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/,
        17,
        'must be a unicast MAC address in lower case, such as 02:00:5e:00:53:01',
      ),
    ).optional(),
    ports: described("Ports of the guest that are reached on the pod's IP.", ports).optional(),
  }),
  ['pod'],
  'must have the member pod: {}',
);

const networks = rule(
  rule(
    listMap(network, 'name', 8),
    'self.filter(n, has(n.pod)).size() <= 1',
    'only one network can be the pod network',
    (list) => list.filter((each) => each.pod !== undefined).length <= 1,
  ),
  'self.all(a, !has(a.macAddress) || self.exists_one(b, has(b.macAddress) && a.macAddress == b.macAddress))',
  'two networks have the same macAddress',
  (list) => {
    const macs = list.flatMap((each) => (each.macAddress === undefined ? [] : [each.macAddress]));
    return new Set(macs).size === macs.length;
  },
);

const secretRef = z.strictObject({
  name: described('Name of a Secret of this namespace, which only the kubelet reads.', objectName()),
});

const cloudInit = rule(
  exactlyOne(
    z.strictObject({
      userData: described(
        'cloud-init user data, inline. Everybody who can read the VM can read it.',
        text(65536),
      ).optional(),
      userDataSecretRef: described('Secret with the key userdata.', secretRef).optional(),
      networkData: described(
        'cloud-init network configuration (version 1 or 2), inline.',
        text(16384),
      ).optional(),
      networkDataSecretRef: described('Secret with the key networkdata.', secretRef).optional(),
      hostname: described("Host name in the meta-data. Absent: the VM's name.", dnsLabel()).optional(),
    }),
    ['userData', 'userDataSecretRef'],
    'must have exactly one of userData or userDataSecretRef',
  ),
  '!has(self.networkData) || !has(self.networkDataSecretRef)',
  'must have at most one of networkData and networkDataSecretRef',
  (value) => value.networkData === undefined || value.networkDataSecretRef === undefined,
);

const resourceList = z.strictObject({
  cpu: cpuQuantity.optional(),
  memory: bytesBetween('16Mi', '32Ti', 'memory').optional(),
});

const resources = z.strictObject({
  requests: described('Requests of the pod instead of the computed ones.', resourceList).optional(),
  limits: described('Limits of the pod. Absent: none.', resourceList).optional(),
});

const disks = rule(
  listMap(disk, 'name', 32),
  'self.all(a, !has(a.bootOrder) || self.exists_one(b, has(b.bootOrder) && a.bootOrder == b.bootOrder))',
  'two disks have the same bootOrder',
  (list) => {
    const orders = list.flatMap((each) => (each.bootOrder === undefined ? [] : [each.bootOrder]));
    return new Set(orders).size === orders.length;
  },
);

const disksWithDistinctClaims = rule(
  disks,
  'self.all(a, !has(a.source.claim) || self.exists_one(b, has(b.source.claim) && a.source.claim.name == b.source.claim.name))',
  'two disks name the same claim',
  (list) => {
    const names = list.flatMap((each) => (each.source.claim === undefined ? [] : [each.source.claim.name]));
    return new Set(names).size === names.length;
  },
);

export const virtualMachineSpec = rule(
  rule(
    z.strictObject({
      runStrategy: described(
        'When the VM runs. Always (absent): it is started again whenever it ends. RerunOnFailure: only when it failed. Once: it runs once. Manual: operations start and stop it. Halted: it is off.',
        runStrategy,
      ).optional(),
      acceleration: described(
        'Auto (absent): KVM where a node has it and it works, else emulation. KVM: wait for such a node. Emulation: never KVM.',
        z.enum(['Auto', 'KVM', 'Emulation']),
      ).optional(),
      machine: machine.optional(),
      cpu: cpu.optional(),
      memory,
      firmware: firmware.optional(),
      state: described('A small claim for what belongs to the machine and not to a disk.', state).optional(),
      kernel: described('Boot this kernel directly instead of what is on the disks.', kernel).optional(),
      disks: disksWithDistinctClaims.optional(),
      networks: networks.optional(),
      cloudInit: described('cloud-init data for the guest, as a NoCloud disk.', cloudInit).optional(),
      terminationGracePeriodSeconds: described(
        'Seconds that the guest has to power itself off before it is stopped. Absent: 120.',
        integer(0, 86400),
      ).optional(),
      pod: described('What of the pod may be chosen.', podTemplate).optional(),
      resources: described('Requests and limits over the computed ones.', resources).optional(),
    }),
    'has(self.kernel) || (has(self.disks) && self.disks.size() > 0)',
    'a VM needs something to boot: at least one entry in disks, or kernel',
    (spec) => spec.kernel !== undefined || (spec.disks?.length ?? 0) > 0,
  ),
  "!has(self.firmware) || !has(self.firmware.type) || self.firmware.type != 'UEFI' || has(self.state)",
  'firmware.type UEFI needs state: {size: 64Mi}, a claim in which its variables are kept',
  (spec) => spec.firmware?.type !== 'UEFI' || spec.state !== undefined,
);

export type VirtualMachineSpec = z.infer<typeof virtualMachineSpec>;
export type DiskSpec = NonNullable<VirtualMachineSpec['disks']>[number];
export type RunStrategy = z.infer<typeof runStrategy>;

export const phase = z.enum([
  'Pending',
  'Scheduling',
  'Starting',
  'Running',
  'Paused',
  'Stopping',
  'Stopped',
  'Succeeded',
  'Failed',
  'CrashLoopBackOff',
  'Unknown',
]);

const time = z.string().meta({ format: 'date-time' });
const shortText = text(1024);

const resolved = z.strictObject({
  machineType: shortText.optional(),
  cpuModel: shortText.optional(),
  vcpus: z.int().optional(),
  firmware: shortText.optional(),
  uuid: shortText.optional(),
  acceleration: described('KVM or Emulation.', z.enum(['KVM', 'Emulation'])).optional(),
  memory: described('Memory of the guest.', shortText).optional(),
  memoryOverhead: described('What the pod books over the memory of the guest.', shortText).optional(),
});

const launcher = z.strictObject({
  node: shortText.optional(),
  podName: shortText.optional(),
  podUID: shortText.optional(),
  incarnation: z.int().optional(),
  version: shortText.optional(),
  qemuVersion: shortText.optional(),
});

export const virtualMachineStatus = z.strictObject({
  observedGeneration: z.int().optional(),
  phase: described('One word for people; conditions are for logic.', phase).optional(),
  conditions: listMap(condition, 'type', 24).optional(),
  resolved: described('What was decided for the running machine, or for the next one.', resolved).optional(),
  launcher: described('The pod that the VM runs in.', launcher).optional(),
  interfaces: atomicList(
    z.strictObject({ name: shortText, mac: shortText, ips: atomicList(text(64), 8).optional() }),
    8,
  ).optional(),
  disks: atomicList(
    z.strictObject({
      name: shortText,
      claimName: shortText.optional(),
      capacity: shortText.optional(),
      format: shortText.optional(),
    }),
    32,
  ).optional(),
  startup: described(
    'When the last start reached each stage.',
    z.strictObject({
      createdAt: time.optional(),
      scheduledAt: time.optional(),
      machineReadyAt: time.optional(),
      guestUpAt: time.optional(),
    }),
  ).optional(),
  restartRequired: described(
    'Fields whose change waits for the next start.',
    atomicList(z.strictObject({ field: shortText, running: shortText, wanted: shortText }), 32),
  ).optional(),
  power: described(
    'Whether the VM is wanted on, by its strategy or by the last operation, counted from the run after afterIncarnation. A change of spec.runStrategy begins anew.',
    z.strictObject({
      state: z.enum(['On', 'Off']),
      runStrategy: runStrategy,
      afterIncarnation: z.int(),
      operation: shortText.optional(),
      operationUID: shortText.optional(),
    }),
  ).optional(),
  lastRun: described(
    'How the last run ended.',
    z.strictObject({
      incarnation: z.int(),
      podUID: shortText,
      result: shortText,
      message: shortText,
      finishedAt: time,
    }),
  ).optional(),
  crashLoop: described(
    'Failed starts in a row, and when the next one is tried.',
    z.strictObject({ failures: z.int(), retryAt: time }),
  ).optional(),
});

export type VirtualMachineStatus = z.infer<typeof virtualMachineStatus>;
export type Phase = z.infer<typeof phase>;

const MAX_NAME = 50;

export const virtualMachine = rule(
  z.strictObject({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal('VirtualMachine'),
    metadata: objectMeta,
    spec: virtualMachineSpec,
    status: virtualMachineStatus.optional(),
  }),
  `self.metadata.name.size() <= ${MAX_NAME} && !self.metadata.name.contains('.')`,
  `the name of a VirtualMachine must have at most ${MAX_NAME} characters and no dot: it is part of the names of its pod and claims`,
  (vm) => vm.metadata.name.length <= MAX_NAME && !vm.metadata.name.includes('.'),
);

export type VirtualMachine = z.infer<typeof virtualMachine>;
