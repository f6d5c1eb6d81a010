/** VirtualMachineOperation: one power action on one VM, with a result. It leaves the VM's spec untouched. */
import * as z from 'zod';
import { API_VERSION } from './api.ts';
import { condition, dnsLabel, objectMeta } from './kubernetes.ts';
import { described, integer, listMap, rules, text, transition } from './schema.ts';

export const operationType = z.enum(['Start', 'Stop', 'Restart', 'Reset', 'Pause', 'Resume']);

const virtualMachineOperationSpec = transition(
  rules(
    z.strictObject({
      virtualMachine: described('Name of the VirtualMachine, in the namespace of this object.', dnsLabel(50)),
      type: described(
        'Start, Stop (ACPI power-off, then by force), Restart (a new pod), Reset (the button), Pause or Resume.',
        operationType,
      ),
      force: described('For Stop and Restart: do not wait for the guest.', z.boolean()).optional(),
      ttlSecondsAfterFinished: described(
        'Seconds that this object stays after its end. Absent: 3600.',
        integer(0, 31_536_000),
      ).optional(),
    }),
    [
      {
        cel: "!has(self.force) || !self.force || self.type in ['Stop', 'Restart']",
        message: 'force goes with type Stop or Restart only; take it away',
        at: '.force',
        holds: (spec) => spec.force !== true || spec.type === 'Stop' || spec.type === 'Restart',
      },
    ],
  ),
  'self == oldSelf',
  'an operation cannot be changed; make another one',
);

const operationPhase = z.enum(['Pending', 'InProgress', 'Succeeded', 'Failed']);

export const virtualMachineOperationStatus = z.strictObject({
  observedGeneration: described('Generation of the spec that this status is about.', z.int()).optional(),
  phase: described('For the column; conditions are for logic.', operationPhase).optional(),
  reason: described('Why it is in its phase, in one word.', text(256)).optional(),
  message: described('What happened, or what is being waited for.', text(1024)).optional(),
  startedAt: described('When it was taken up.', z.string().meta({ format: 'date-time' })).optional(),
  completedAt: described('When it ended.', z.string().meta({ format: 'date-time' })).optional(),
  incarnation: described('The life of the VM in which the operation began.', z.int()).optional(),
  conditions: described('What holds and why: Ready.', listMap(condition, 'type', 8)).optional(),
});

export const virtualMachineOperation = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VirtualMachineOperation'),
  metadata: objectMeta,
  spec: described('What is to be done. It cannot be changed.', virtualMachineOperationSpec),
  status: described('How far it is, and its result.', virtualMachineOperationStatus).optional(),
});

export type OperationType = z.infer<typeof operationType>;
export type VirtualMachineOperation = z.infer<typeof virtualMachineOperation>;
export type VirtualMachineOperationStatus = z.infer<typeof virtualMachineOperationStatus>;
