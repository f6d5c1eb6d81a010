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
