/** VirtualMachineRestore: one VM goes back to a snapshot, once, with a result. */
import * as z from 'zod';
import { API_VERSION } from './api.ts';
import { condition, dnsLabel, objectMeta, objectName } from './kubernetes.ts';
import { atomicList, described, listMap, rules, text, transition } from './schema.ts';

const virtualMachineRestoreSpec = transition(
  rules(
    z.strictObject({
      virtualMachine: described('Name of the VirtualMachine, in the namespace of this object.', dnsLabel(50)),
      snapshot: described('Name of the VirtualMachineSnapshot to go back to.', objectName()).optional(),
      lastValid: described(
        'In the place of snapshot: the newest one of the VM that is whole; damaged ones are passed over.',
        z.boolean(),
      ).optional(),
      memory: described(
        'Include: the guest goes on where it was, or the restore fails. Exclude: it boots from the disks. Absent: Include where the snapshot has the memory.',
        z.enum(['Include', 'Exclude']),
      ).optional(),
      stop: described(
        'Stop the VM if it runs. Without it a restore waits until the VM is off.',
        z.boolean(),
      ).optional(),
    }),
    [
      {
        cel: 'has(self.snapshot) != (has(self.lastValid) && self.lastValid)',
        message: 'must have either snapshot or lastValid: true',
        holds: (spec) => (spec.snapshot !== undefined) !== (spec.lastValid === true),
      },
    ],
  ),
  'self == oldSelf',
  'a restore cannot be changed; make another one',
);

const time = (description: string) => described(description, z.string().meta({ format: 'date-time' }));
const words = (description: string) => described(description, text(1024));

export const virtualMachineRestoreStatus = z.strictObject({
  observedGeneration: described('Generation of the spec that this status is about.', z.int()).optional(),
  phase: described(
    'For the column; conditions are for logic.',
    z.enum(['Pending', 'InProgress', 'Succeeded', 'Failed']),
  ).optional(),
  conditions: described('What holds and why: Complete.', listMap(condition, 'type', 8)).optional(),
  snapshot: words('Name of the snapshot that the VM went back to.').optional(),
  memory: described('Whether the guest went on where it was.', z.boolean()).optional(),
  refused: described('Why newer snapshots were passed over.', atomicList(text(512), 16)).optional(),
  startedAt: time('When it was taken up.').optional(),
  completedAt: time('When it ended.').optional(),
  incarnation: described('The life of the VM that began with it.', z.int()).optional(),
});

export const virtualMachineRestore = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VirtualMachineRestore'),
  metadata: objectMeta,
  spec: described('What is to be gone back to. It cannot be changed.', virtualMachineRestoreSpec),
  status: described('How far it is, and its result.', virtualMachineRestoreStatus).optional(),
});

export type VirtualMachineRestore = z.infer<typeof virtualMachineRestore>;
export type VirtualMachineRestoreStatus = z.infer<typeof virtualMachineRestoreStatus>;
