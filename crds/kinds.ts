/** The kinds of Vmstead as the API server lists them: names, columns, schema. */
import type * as z from 'zod';
import { virtualMachine } from './virtual-machine.ts';
import { virtualMachineImage } from './virtual-machine-image.ts';
import { virtualMachineOperation } from './virtual-machine-operation.ts';
import { virtualMachineRestore } from './virtual-machine-restore.ts';
import { virtualMachineSnapshot } from './virtual-machine-snapshot.ts';
import { virtualMachineSnapshotSchedule } from './virtual-machine-snapshot-schedule.ts';

export interface PrinterColumn {
  name: string;
  type: 'string' | 'integer' | 'date';
  description: string;
  jsonPath: string;
  /** 0: always shown; 1: with `-o wide`. */
  priority?: 0 | 1;
}

export interface Kind {
  kind: string;
  plural: string;
  singular: string;
  shortNames: string[];
  categories: string[];
  description: string;
  printerColumns: PrinterColumn[];
  schema: z.ZodType;
}

const age: PrinterColumn = {
  name: 'Age',
  type: 'date',
  description: 'Time since the object was made.',
  jsonPath: '.metadata.creationTimestamp',
};

function ofCondition(type: string, member: 'status' | 'reason'): string {
  return `.status.conditions[?(@.type=="${type}")].${member}`;
}

export const KINDS: readonly Kind[] = [
  {
    kind: 'VirtualMachine',
    plural: 'virtualmachines',
    singular: 'virtualmachine',
    shortNames: ['vm', 'vmst'],
    categories: ['vmstead'],
    description:
      'A virtual machine that runs in one pod. Its spec belongs to its owner and is never written to; what was decided and what is going on is in its status.',
    printerColumns: [
      {
        name: 'Phase',
        type: 'string',
        description: 'What the VM is doing, in one word.',
        jsonPath: '.status.phase',
      },
      {
        name: 'Ready',
        type: 'string',
        description: 'Whether the VM is in the state that its spec and the last operation ask for.',
        jsonPath: ofCondition('Ready', 'status'),
      },
      {
        name: 'Reason',
        type: 'string',
        description: 'Why it is ready, or what it waits for.',
        jsonPath: ofCondition('Ready', 'reason'),
      },
      {
        name: 'Node',
        type: 'string',
        description: 'Node that the VM runs on.',
        jsonPath: '.status.launcher.node',
      },
      {
        name: 'IP',
        type: 'string',
        description: 'Address of the first network.',
        jsonPath: '.status.interfaces[0].ips[0]',
      },
      age,
      {
        name: 'CPU',
        type: 'integer',
        description: 'Virtual CPUs.',
        jsonPath: '.status.resolved.vcpus',
        priority: 1,
      },
      {
        name: 'Memory',
        type: 'string',
        description: 'Memory of the guest.',
        jsonPath: '.status.resolved.memory',
        priority: 1,
      },
      {
        name: 'Acceleration',
        type: 'string',
        description: 'KVM or Emulation.',
        jsonPath: '.status.resolved.acceleration',
        priority: 1,
      },
      {
        name: 'Restart',
        type: 'string',
        description: 'True: a change of the spec waits for the next start.',
        jsonPath: ofCondition('RestartRequired', 'status'),
        priority: 1,
      },
    ],
    schema: virtualMachine,
  },
  {
    kind: 'VirtualMachineOperation',
    plural: 'virtualmachineoperations',
    singular: 'virtualmachineoperation',
    shortNames: ['vmop'],
    categories: ['vmstead'],
    description:
      'One power action on one VirtualMachine, with its result. It is deleted some time after its end.',
    printerColumns: [
      {
        name: 'VM',
        type: 'string',
        description: 'The VirtualMachine.',
        jsonPath: '.spec.virtualMachine',
      },
      {
        name: 'Type',
        type: 'string',
        description: 'What is to be done.',
        jsonPath: '.spec.type',
      },
      {
        name: 'Phase',
        type: 'string',
        description: 'How far it is.',
        jsonPath: '.status.phase',
      },
      {
        name: 'Reason',
        type: 'string',
        description: 'Why it is in that phase.',
        jsonPath: '.status.reason',
      },
      age,
      {
        name: 'Message',
        type: 'string',
        description: 'What happened, or what is being waited for.',
        jsonPath: '.status.message',
        priority: 1,
      },
    ],
    schema: virtualMachineOperation,
  },
  {
    kind: 'VirtualMachineImage',
    plural: 'virtualmachineimages',
    singular: 'virtualmachineimage',
    shortNames: ['vmimg'],
    categories: ['vmstead'],
    description:
      'A disk image that is brought into a claim once and checked. VMs of its namespace begin as copies of it; it is never written to again.',
    printerColumns: [
      {
        name: 'Phase',
        type: 'string',
        description: 'How far it is.',
        jsonPath: '.status.phase',
      },
      {
        name: 'Progress',
        type: 'string',
        description: 'Part of the import that is done.',
        jsonPath: '.status.progress.percent',
      },
      {
        name: 'Format',
        type: 'string',
        description: 'Format of the image.',
        jsonPath: '.status.format',
      },
      {
        name: 'Size',
        type: 'string',
        description: 'Size of the disk that a guest sees.',
        jsonPath: '.status.virtualSize',
      },
      {
        name: 'Reason',
        type: 'string',
        description: 'Why it is ready, or what it waits for.',
        jsonPath: ofCondition('Ready', 'reason'),
      },
      age,
      {
        name: 'Claim',
        type: 'string',
        description: 'The claim that holds the image.',
        jsonPath: '.status.claimName',
        priority: 1,
      },
    ],
    schema: virtualMachineImage,
  },
  {
    kind: 'VirtualMachineSnapshot',
    plural: 'virtualmachinesnapshots',
    singular: 'virtualmachinesnapshot',
    shortNames: ['vmsnap'],
    categories: ['vmstead'],
    description:
      'The disks of a VirtualMachine as they were at one moment, and its memory where that is wanted. They are layers in the claims of the VM; deleting this object lets go of them.',
    printerColumns: [
      {
        name: 'VM',
        type: 'string',
        description: 'The VirtualMachine.',
        jsonPath: '.spec.virtualMachine',
      },
      { name: 'Phase', type: 'string', description: 'How far it is.', jsonPath: '.status.phase' },
      {
        name: 'Consistency',
        type: 'string',
        description: 'Memory, Filesystem or Crash.',
        jsonPath: '.status.consistency',
      },
      {
        name: 'Verified',
        type: 'string',
        description: 'Whether everything of it has a checksum.',
        jsonPath: ofCondition('Verified', 'status'),
      },
      {
        name: 'Reason',
        type: 'string',
        description: 'Why it is ready, or what it waits for.',
        jsonPath: ofCondition('Ready', 'reason'),
      },
      age,
      {
        name: 'Pause',
        type: 'integer',
        description: 'Milliseconds that the guest stood still.',
        jsonPath: '.status.pauseMilliseconds',
        priority: 1,
      },
      {
        name: 'Memory',
        type: 'string',
        description: 'Size of the memory that is kept.',
        jsonPath: '.status.memory.size',
        priority: 1,
      },
      {
        name: 'Message',
        type: 'string',
        description: 'What happened, or what is being waited for.',
        jsonPath: '.status.conditions[?(@.type=="Ready")].message',
        priority: 1,
      },
    ],
    schema: virtualMachineSnapshot,
  },
  {
    kind: 'VirtualMachineRestore',
    plural: 'virtualmachinerestores',
    singular: 'virtualmachinerestore',
    shortNames: ['vmrestore'],
    categories: ['vmstead'],
    description: 'One VirtualMachine goes back to a snapshot, once, with a result.',
    printerColumns: [
      {
        name: 'VM',
        type: 'string',
        description: 'The VirtualMachine.',
        jsonPath: '.spec.virtualMachine',
      },
      {
        name: 'Snapshot',
        type: 'string',
        description: 'The snapshot that it went back to.',
        jsonPath: '.status.snapshot',
      },
      { name: 'Phase', type: 'string', description: 'How far it is.', jsonPath: '.status.phase' },
      {
        name: 'Reason',
        type: 'string',
        description: 'Why it is in that phase.',
        jsonPath: ofCondition('Complete', 'reason'),
      },
      age,
      {
        name: 'Message',
        type: 'string',
        description: 'What happened, or what is being waited for.',
        jsonPath: '.status.conditions[?(@.type=="Complete")].message',
        priority: 1,
      },
    ],
    schema: virtualMachineRestore,
  },
  {
    kind: 'VirtualMachineSnapshotSchedule',
    plural: 'virtualmachinesnapshotschedules',
    singular: 'virtualmachinesnapshotschedule',
    shortNames: ['vmsnapsched'],
    categories: ['vmstead'],
    description: 'Snapshots of one VirtualMachine, or of several, again and again; the old ones go.',
    printerColumns: [
      { name: 'VM', type: 'string', description: 'The VirtualMachine.', jsonPath: '.spec.virtualMachine' },
      { name: 'Schedule', type: 'string', description: 'When, as cron has it.', jsonPath: '.spec.schedule' },
      {
        name: 'Next',
        type: 'string',
        description: 'The next time.',
        jsonPath: '.status.nextScheduleTime',
      },
      { name: 'Last', type: 'date', description: 'The last time.', jsonPath: '.status.lastScheduleTime' },
      {
        name: 'Reason',
        type: 'string',
        description: 'Whether it goes on, or why not.',
        jsonPath: ofCondition('Ready', 'reason'),
      },
      age,
      {
        name: 'Message',
        type: 'string',
        description: 'What is wrong, if anything.',
        jsonPath: '.status.conditions[?(@.type=="Ready")].message',
        priority: 1,
      },
    ],
    schema: virtualMachineSnapshotSchedule,
  },
];
