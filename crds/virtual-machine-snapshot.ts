/** VirtualMachineSnapshot: the disks of a VM as they were at one moment, and its memory where that is wanted. */
import * as z from 'zod';
import { API_VERSION } from './api.ts';
import { condition, dnsLabel, objectMeta } from './kubernetes.ts';
import { described, integer, listMap, text, transition } from './schema.ts';
import { quiesce } from './snapshot-order.ts';

const virtualMachineSnapshotSpec = transition(
  z.strictObject({
    virtualMachine: described('Name of the VirtualMachine, in the namespace of this object.', dnsLabel(50)),
    memory: described(
      'Include: the memory of the running guest too, so that it can go on exactly where it was; it is kept in the state claim, which must have room for it. Exclude (absent): the disks alone.',
      z.enum(['Include', 'Exclude']),
    ).optional(),
    quiesce: described(
      "Whether the guest's file systems are held still by its agent; not where the memory is included, which needs no such thing. Auto (absent): where there is an agent. Required: fail without one. Never: leave them alone.",
      quiesce,
    ).optional(),
    deadlineSeconds: described(
      'Seconds that taking it may last once it was begun. Absent: 300.',
      integer(5, 3600),
    ).optional(),
  }),
  'self == oldSelf',
  'a snapshot cannot be changed; make another one',
);

const time = (description: string) => described(description, z.string().meta({ format: 'date-time' }));
const words = (description: string) => described(description, text(1024));

const snapshotDisk = z.strictObject({
  name: words('Name of the disk.'),
  size: words("Length of the frozen layer's file; holes in it take no room."),
  sha256: words('SHA-256 checksum of the frozen layer, once it was read through.').optional(),
});

export const virtualMachineSnapshotStatus = z.strictObject({
  observedGeneration: described('Generation of the spec that this status is about.', z.int()).optional(),
  phase: described(
    'For the column; conditions are for logic.',
    z.enum(['Pending', 'InProgress', 'Ready', 'Failed']),
  ).optional(),
  conditions: described(
    'What holds and why: Ready, and Verified once everything of it has a checksum.',
    listMap(condition, 'type', 8),
  ).optional(),
  consistency: described(
    'Memory: the guest goes on as if nothing had been. Filesystem: its file systems were written out and held still. Crash: as after a power cut.',
    z.enum(['Memory', 'Filesystem', 'Crash']),
  ).optional(),
  takenAt: time('When it was taken.').optional(),
  pauseMilliseconds: described('How long the guest stood still.', integer(0, 2 ** 31)).optional(),
  virtualMachineUID: words('UID of the VirtualMachine that it was taken of.').optional(),
  memory: described(
    'The memory, where it was included.',
    z.strictObject({
      claimName: words('The claim that holds it.'),
      size: words('Length of its file; what the guest did not use takes no room.'),
      sha256: words('SHA-256 checksum of its file, once it was read through.').optional(),
    }),
  ).optional(),
  disks: described('The layers that it froze.', listMap(snapshotDisk, 'name', 32)).optional(),
});

export const virtualMachineSnapshot = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VirtualMachineSnapshot'),
  metadata: objectMeta,
  spec: described('What is to be taken. It cannot be changed.', virtualMachineSnapshotSpec),
  status: described('What was taken. Only the operator writes it.', virtualMachineSnapshotStatus).optional(),
});

export type VirtualMachineSnapshot = z.infer<typeof virtualMachineSnapshot>;
export type VirtualMachineSnapshotStatus = z.infer<typeof virtualMachineSnapshotStatus>;
