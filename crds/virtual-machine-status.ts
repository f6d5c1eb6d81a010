/** Status of a VirtualMachine: written by the operator only. */
import * as z from 'zod';
import { condition } from './kubernetes.ts';
import { runStrategy } from './run-strategy.ts';
import { atomicList, described, listMap, text } from './schema.ts';

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

const time = (description: string) => described(description, z.string().meta({ format: 'date-time' }));
const words = (description: string) => described(description, text(1024));
const count = (description: string) => described(description, z.int());

const resolved = z.strictObject({
  machineType: words('Versioned QEMU machine type, such as pc-q35-10.0.').optional(),
  cpuModel: words('CPU model as QEMU names it.').optional(),
  vcpus: count('Virtual CPUs: sockets × cores × threads.').optional(),
  firmware: words('BIOS or UEFI.').optional(),
  uuid: words('SMBIOS UUID.').optional(),
  acceleration: described('KVM or Emulation.', z.enum(['KVM', 'Emulation'])).optional(),
  memory: words('Memory of the guest.').optional(),
  memoryOverhead: words('What the pod books over the memory of the guest.').optional(),
});

const launcher = z.strictObject({
  node: words('Node that the pod is bound to.').optional(),
  podName: words('Name of the pod.').optional(),
  podUID: words('UID of the pod.').optional(),
  incarnation: count('Which life of the VM it is, counted from 1.').optional(),
  version: words('Version of the launcher.').optional(),
  qemuVersion: words('Version of QEMU.').optional(),
});

const networkInterface = z.strictObject({
  name: words('Name of the network in the spec.'),
  mac: words("MAC address of the guest's card."),
  ips: described('Addresses, the first one for the column.', atomicList(text(64), 8)).optional(),
});

const disk = z.strictObject({
  name: words('Name of the disk in the spec.'),
  claimName: words('The claim that holds it.').optional(),
  capacity: words('Size that the guest sees.').optional(),
  format: words('raw or qcow2.').optional(),
  cache: words('Cache that is used: none, writeback or writethrough.').optional(),
  aio: words('How QEMU waits for the storage: io_uring, native or threads.').optional(),
  limits: words('Limits in force, such as iops 100, writeBandwidth 10Mi.').optional(),
  media: words('Of a CD-ROM drive: Inserted, Empty, or TrayOpen where the guest opened it.').optional(),
  base: described(
    'The VirtualMachineImage that it began as, for as long as it is known.',
    z.strictObject({
      image: words('Name of the image.'),
      state: described(
        'Linked: it needs the image. Copying: it is being made independent. Independent: it needs it no more.',
        z.enum(['Linked', 'Copying', 'Independent']),
      ),
      copied: words('Part of the image that is copied, such as 40%.').optional(),
      method: described(
        'How the disk was made: Clone, by the storage itself (CSI), or Overlay, on the image.',
        z.enum(['Clone', 'Overlay']),
      ).optional(),
    }),
  ).optional(),
  attachment: described(
    'How the disk is a part of the machine that runs.',
    z.strictObject({
      state: described(
        'InPod: mounted by the launcher pod. Hotplugged: it came while the VM runs, through the pod podName. Attaching, Detaching: on its way.',
        z.enum(['InPod', 'Attaching', 'Hotplugged', 'Detaching']),
      ),
      podName: words('The pod that has the claim and exports it to the launcher.').optional(),
      message: words('What is done or waited for.').optional(),
    }),
  ).optional(),
  problem: words('Why something that the spec says of the disk is not so yet.').optional(),
});

const startup = z.strictObject({
  createdAt: time('The pod was created.').optional(),
  scheduledAt: time('A node was chosen.').optional(),
  machineReadyAt: time('QEMU ran the first instruction of the guest.').optional(),
  guestUpAt: time('The guest said that it is up.').optional(),
});

const pendingChange = z.strictObject({
  field: words('Path of the field, such as spec.cpu.cores.'),
  running: words('What the running machine has.'),
  wanted: words('What the spec says.'),
});

const power = z.strictObject({
  state: described('Whether the VM is wanted on.', z.enum(['Running', 'Stopped'])),
  runStrategy: described('The strategy for which this record holds.', runStrategy),
  afterIncarnation: count('Runs up to this one do not count.'),
  operation: words('Name of the operation that decided it.').optional(),
  operationUID: words('UID of that operation.').optional(),
});

const lastRun = z.strictObject({
  incarnation: count('Which life of the VM it was.'),
  podUID: words('UID of its pod.'),
  result: words('How it ended, in one word, such as GuestPowerOff or QemuKilled.'),
  message: words('How it ended, in a sentence.'),
  finishedAt: time('When it ended.'),
});

const crashLoop = z.strictObject({
  failures: count('Failed runs in a row.'),
  retryAt: time('When the next start is tried.'),
});

export const virtualMachineStatus = z.strictObject({
  observedGeneration: count('Generation of the spec that this status is about.').optional(),
  phase: described('One word for people; conditions are for logic.', phase).optional(),
  conditions: described(
    'What holds and why: Ready, Running, GuestReady, DisksReady and so on.',
    listMap(condition, 'type', 24),
  ).optional(),
  resolved: described('What was decided for the running machine, or for the next one.', resolved).optional(),
  launcher: described('The pod that the VM runs in.', launcher).optional(),
  interfaces: described("The guest's network cards.", atomicList(networkInterface, 8)).optional(),
  disks: described("The guest's disks.", atomicList(disk, 32)).optional(),
  startup: described('When the last start reached each stage.', startup).optional(),
  restartRequired: described(
    'Fields whose change waits for the next start.',
    atomicList(pendingChange, 32),
  ).optional(),
  power: described(
    'Whether the VM is wanted on, by its strategy or by the last operation, counted from the run after afterIncarnation. A change of spec.runStrategy begins anew.',
    power,
  ).optional(),
  lastRun: described('How the last run ended.', lastRun).optional(),
  crashLoop: described('Failed starts in a row, and when the next one is tried.', crashLoop).optional(),
});

export type VirtualMachineStatus = z.infer<typeof virtualMachineStatus>;
export type Phase = z.infer<typeof phase>;
