/** VirtualMachineSnapshotSchedule: snapshots of one VM, or of several, again and again. */
import * as z from 'zod';
import { API_VERSION } from './api.ts';
import { condition, dnsLabel, labelMap, objectMeta } from './kubernetes.ts';
import { atomicList, described, exactlyOne, integer, listMap, matching, text } from './schema.ts';
import { quiesce } from './snapshot-order.ts';

const virtualMachineSnapshotScheduleSpec = exactlyOne(
  z.strictObject({
    virtualMachine: described(
      'Name of the VirtualMachine, in the namespace of this object.',
      dnsLabel(50),
    ).optional(),
    selector: described(
      'In the place of virtualMachine: every VirtualMachine of the namespace with these labels.',
      z.strictObject({ matchLabels: described('Labels that must all be there.', labelMap(16)) }),
    ).optional(),
    schedule: described(
      'When, as cron has it: minute, hour, day of the month, month, day of the week. Such as 0 3 * * *, or @daily.',
      matching(
        /^(@(hourly|daily|weekly|monthly|yearly)|[A-Za-z0-9*/,#L-]+( [A-Za-z0-9*/,#L?-]+){4})$/,
        100,
        'must be five fields as cron has them, such as 0 3 * * *, or one of @hourly, @daily, @weekly, @monthly and @yearly',
      ),
    ),
    timeZone: described(
      'Time zone of the schedule, such as Europe/Berlin. Absent: UTC.',
      matching(
        /^[A-Za-z]+([_+-]?[A-Za-z0-9]+)*(\/[A-Za-z0-9]+([_+-][A-Za-z0-9]+)*){0,2}$/,
        64,
        'must be the name of a time zone, such as Europe/Berlin or UTC',
      ),
    ).optional(),
    template: described(
      'What the snapshots are like, as in a VirtualMachineSnapshot.',
      z.strictObject({
        memory: described("Include: the guest's memory too.", z.enum(['Include', 'Exclude'])).optional(),
        quiesce: described("Whether the guest's file systems are held still.", quiesce).optional(),
        deadlineSeconds: described('Seconds that taking one may last.', integer(5, 3600)).optional(),
      }),
    ).optional(),
    retention: described(
      'Which of its snapshots of a VM are kept. The newest that is ready always is.',
      z.strictObject({
        count: described('The newest so many. Absent: 7.', integer(1, 14)).optional(),
        maxAge: described(
          'None older than this, such as 36h or 7d. Absent: however old.',
          matching(/^[1-9][0-9]{0,4}[mhdw]$/, 6, 'must be a number of m, h, d or w, such as 36h or 7d'),
        ).optional(),
      }),
    ).optional(),
    suspend: described('Take none for now, and let none go.', z.boolean()).optional(),
  }),
  ['virtualMachine', 'selector'],
  'must have either virtualMachine or selector',
);

const time = (description: string) => described(description, z.string().meta({ format: 'date-time' }));
const words = (description: string) => described(description, text(1024));

const taken = z.strictObject({
  name: words('Name of the VirtualMachineSnapshot.'),
  virtualMachine: words('Name of the VirtualMachine.'),
  phase: words('Its phase.').optional(),
  scheduledAt: time('When it was due.'),
});

export const virtualMachineSnapshotScheduleStatus = z.strictObject({
  observedGeneration: described('Generation of the spec that this status is about.', z.int()).optional(),
  conditions: described('What holds and why: Ready.', listMap(condition, 'type', 8)).optional(),
  lastScheduleTime: time('The last time that was due.').optional(),
  nextScheduleTime: time('The next one.').optional(),
  missed: described(
    'Times that went by without a snapshot, as nobody was there to take it.',
    z.int(),
  ).optional(),
  skipped: described('VMs that the last time was not for, and why.', atomicList(text(300), 16)).optional(),
  history: described('Its snapshots that are there, the newest first.', atomicList(taken, 16)).optional(),
});

export const virtualMachineSnapshotSchedule = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VirtualMachineSnapshotSchedule'),
  metadata: objectMeta,
  spec: described('What is to be taken, when, and how long it is kept.', virtualMachineSnapshotScheduleSpec),
  status: described(
    'What was taken, and what comes next. Only the operator writes it.',
    virtualMachineSnapshotScheduleStatus,
  ).optional(),
});

export type VirtualMachineSnapshotSchedule = z.infer<typeof virtualMachineSnapshotSchedule>;
export type VirtualMachineSnapshotScheduleStatus = z.infer<typeof virtualMachineSnapshotScheduleStatus>;
