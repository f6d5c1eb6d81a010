/** VirtualMachine: one object, one pod, one status that tells the truth. */
import * as z from 'zod';
import { API_VERSION } from './api.ts';
import { disks, state } from './disk.ts';
import { pathInImage } from './disk-source.ts';
import { containerImageFields, dnsLabel, objectMeta, objectName, podTemplate } from './kubernetes.ts';
import { networks } from './network.ts';
import { bytesBetween, cpuQuantity, parsedBytes, parsedCpu } from './quantity.ts';
import { runStrategy } from './run-strategy.ts';
import { described, exactlyOne, integer, matching, rule, rules, text } from './schema.ts';
import { virtualMachineStatus } from './virtual-machine-status.ts';

export type { RunStrategy } from './run-strategy.ts';
export type { Phase, VirtualMachineStatus } from './virtual-machine-status.ts';

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
const kernel = z.strictObject({
  ...containerImageFields,
  path: described('Path of the kernel in the image.', pathInImage('the kernel')),
  initrdPath: described(
    'Path of the initial RAM disk in the image.',
    pathInImage('the initial RAM disk'),
  ).optional(),
  commandLine: described("The kernel's command line.", text(2047)).optional(),
});

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
    'must have exactly one of userData and userDataSecretRef',
  ),
  '!has(self.networkData) || !has(self.networkDataSecretRef)',
  'must not have both networkData and networkDataSecretRef; take one away',
  (value) => value.networkData === undefined || value.networkDataSecretRef === undefined,
);

const resourceList = z.strictObject({
  cpu: described('CPU of the pod.', cpuQuantity).optional(),
  memory: described('Memory of the pod.', bytesBetween('16Mi', '32Ti', 'memory')).optional(),
});

const resources = rules(
  z.strictObject({
    requests: described('Requests of the pod instead of the computed ones.', resourceList).optional(),
    limits: described('Limits of the pod. Absent: none.', resourceList).optional(),
  }),
  [
    {
      cel: atMost('self.requests', 'cpu', 'self.limits'),
      message: 'requests.cpu must not be more than limits.cpu',
      at: '.requests.cpu',
      holds: ({ requests, limits }) =>
        !((parsedCpu(requests?.cpu) ?? 0) > (parsedCpu(limits?.cpu) ?? Infinity)),
    },
    {
      cel: atMost('self.requests', 'memory', 'self.limits'),
      message: 'requests.memory must not be more than limits.memory',
      at: '.requests.memory',
      holds: ({ requests, limits }) => {
        const [request, limit] = [parsedBytes(requests?.memory), parsedBytes(limits?.memory)];
        return request === undefined || limit === undefined || request <= limit;
      },
    },
  ],
);

/** CEL: a quantity is not more than its namesake elsewhere, where both are there and are quantities. */
function atMost(low: string, field: string, high: string): string {
  const [a, b] = [`${low}.${field}`, `${high}.${field}`];
  return `!has(${low}) || !has(${high}) || !has(${a}) || !has(${b}) || !isQuantity(${a}) || !isQuantity(${b}) || quantity(${a}).compareTo(quantity(${b})) <= 0`;
}

export const virtualMachineSpec = rules(
  z.strictObject({
    runStrategy: described(
      'When the VM runs. Always (absent): it is started again whenever it ends. RerunOnFailure: only when it failed. Once: it runs once. Manual: operations start and stop it. Halted: it is off.',
      runStrategy,
    ).optional(),
    acceleration: described(
      'Auto (absent): KVM where a node has it and it works, else emulation. KVM: wait for such a node. Emulation: never KVM.',
      z.enum(['Auto', 'KVM', 'Emulation']),
    ).optional(),
    machine: described('The kind of machine that QEMU emulates.', machine).optional(),
    cpu: described('Virtual CPUs. Absent: one.', cpu).optional(),
    memory: described('Memory of the guest.', memory),
    firmware: described('What the machine boots with, and its identity.', firmware).optional(),
    state: described('A small claim for what belongs to the machine and not to a disk.', state).optional(),
    kernel: described('Boot this kernel directly instead of what is on the disks.', kernel).optional(),
    disks: described('Disks and CD-ROMs, in the order in which the guest finds them.', disks).optional(),
    ioThreads: described(
      "Threads that do the I/O of virtio and scsi disks in the place of QEMU's main one; no more than vCPUs are used. Absent: none.",
      integer(0, 16),
    ).optional(),
    networks: described('Network cards. Absent: none.', networks).optional(),
    cloudInit: described('cloud-init data for the guest, as a NoCloud disk.', cloudInit).optional(),
    terminationGracePeriodSeconds: described(
      'Seconds that the guest has to power itself off before it is stopped. Absent: 120.',
      integer(0, 86400),
    ).optional(),
    pod: described('What of the pod may be chosen.', podTemplate).optional(),
    resources: described('Requests and limits over the computed ones.', resources).optional(),
  }),
  [
    {
      cel: 'has(self.kernel) || (has(self.disks) && self.disks.size() > 0)',
      message: 'a VM needs something to boot: at least one entry in disks, or kernel',
      at: '.disks',
      holds: (spec) => spec.kernel !== undefined || (spec.disks?.length ?? 0) > 0,
    },
    {
      cel: "!has(self.firmware) || !has(self.firmware.type) || self.firmware.type != 'UEFI' || has(self.state)",
      message: 'firmware.type UEFI needs state: {size: 64Mi}, a claim in which its variables are kept',
      at: '.state',
      holds: (spec) => spec.firmware?.type !== 'UEFI' || spec.state !== undefined,
    },
    {
      cel: '!has(self.resources) || !has(self.resources.limits) || !has(self.resources.limits.memory) || !isQuantity(self.resources.limits.memory) || !isQuantity(self.memory.size) || quantity(self.resources.limits.memory).isGreaterThan(quantity(self.memory.size))',
      message:
        'resources.limits.memory must be more than memory.size: QEMU itself needs memory too; better leave it out',
      at: '.resources.limits.memory',
      holds: (spec) => {
        const [limit, guest] = [parsedBytes(spec.resources?.limits?.memory), parsedBytes(spec.memory.size)];
        return limit === undefined || guest === undefined || limit > guest;
      },
    },
  ],
);

export type VirtualMachineSpec = z.infer<typeof virtualMachineSpec>;
export type DiskSpec = NonNullable<VirtualMachineSpec['disks']>[number];

const MAX_NAME = 50;

export const virtualMachine = rules(
  z.strictObject({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal('VirtualMachine'),
    metadata: objectMeta,
    spec: described('What the VM should be. Only its owner writes it.', virtualMachineSpec),
    status: described('What the VM is. Only the operator writes it.', virtualMachineStatus).optional(),
  }),
  [
    {
      cel: `self.metadata.name.size() <= ${MAX_NAME} && !self.metadata.name.contains('.')`,
      message: `the name of a VirtualMachine must have at most ${MAX_NAME} characters and no dot: it is part of the names of its pod and claims`,
      at: '.metadata.name',
      holds: (vm) => vm.metadata.name.length <= MAX_NAME && !vm.metadata.name.includes('.'),
    },
  ],
);

export type VirtualMachine = z.infer<typeof virtualMachine>;
