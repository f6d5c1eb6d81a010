/** What a launcher and the operator say to each other: one JSON document a line, each way. */
import * as z from 'zod';
import { diskLimits, machineDisk } from './machine-description.ts';
import { moverProgress } from './mover.ts';
import { restoreReport, snapshotOrder, snapshotReport } from './snapshot-order.ts';

export const CHANNEL_PATH = '/v1/channel';
export const CHANNEL_PROTOCOL = 'vmstead-channel';
export const CHANNEL_PORT = 8443;
/** Longest line, in bytes. */
export const CHANNEL_LINE_LIMIT = 65536;
/** Milliseconds between two heartbeats. */
export const HEARTBEAT_INTERVAL = 10_000;
/** Milliseconds of silence after which nothing is known of a launcher any more. */
export const HEARTBEAT_DEADLINE = 40_000;

const text = z.string().max(1024);

/**
 * What QEMU is doing, in the launcher's words.
 * `IoError`: QEMU paused the guest because a disk failed or is full.
 * `Off`: there is no QEMU; the launcher looks after the disks' layers only.
 */
export const machineState = z.enum(['Starting', 'Running', 'Paused', 'IoError', 'Stopping', 'Ended', 'Off']);
export type MachineState = z.infer<typeof machineState>;

/** What is true of one disk. */
const diskReport = z.strictObject({
  name: text,
  /** Absent: nothing is in the drive. */
  capacityBytes: z.int().optional(),
  format: text.optional(),
  cache: text.optional(),
  aio: text.optional(),
  /** In force, as QEMU says. */
  limits: diskLimits.optional(),
  /** Of a CD-ROM drive. `TrayOpen`: the guest opened it. */
  media: z.enum(['Empty', 'Inserted', 'TrayOpen']).optional(),
  /** Of a disk that began as an image. `Independent`: it needs the image no more, also after a power cut. */
  base: z
    .strictObject({
      state: z.enum(['Linked', 'Copying', 'Independent']),
      copiedBytes: z.int().optional(),
      totalBytes: z.int().optional(),
    })
    .optional(),
  /** Why something that is wanted of it is not so yet. */
  problem: text.optional(),
});
export type DiskReport = z.infer<typeof diskReport>;

/** Everything that the launcher observes; sent as a whole whenever any of it changes. */
export const launcherReport = z.strictObject({
  state: machineState,
  /** Why, for people: the disk that is full, what is being waited for. */
  message: text.optional(),
  /** Of an IoError: the disk, and whether it is lack of room. */
  ioError: z.strictObject({ disk: text, noSpace: z.boolean() }).optional(),
  accelerator: z.enum(['kvm', 'tcg']).optional(),
  machineType: text.optional(),
  cpuModel: text.optional(),
  qemuVersion: text.optional(),
  /** How the guest said that it is up; absent: it has not. */
  guestReady: z.enum(['Signal', 'Agent']).optional(),
  agent: z
    .strictObject({ connected: z.boolean(), version: text.optional(), osName: text.optional() })
    .optional(),
  interfaces: z
    .array(z.strictObject({ name: text, mac: text, ips: z.array(z.string().max(64)).max(8) }))
    .max(8)
    .optional(),
  disks: z.array(diskReport).max(64).optional(),
  /** The last change of the machine that was carried out, as far as QEMU let it. */
  revision: z.int().optional(),
  /** Every snapshot whose layers are in the disks' claims, oldest first. */
  snapshots: z.array(snapshotReport).max(32).optional(),
  /** The snapshot that this life of the VM began with. */
  restored: restoreReport.optional(),
  /** ISO times. */
  machineReadyAt: text.optional(),
  guestUpAt: text.optional(),
});
export type LauncherReport = z.infer<typeof launcherReport>;

/** Of a launcher that changes a machine while it runs. */
export const LIVE_FEATURE = 'live';

/** Of a launcher that takes disks from attachment pods, also from another one in the place of the first. */
export const PLUG_FEATURE = 'plug';

/** Of a launcher that takes snapshots. */
export const SNAPSHOT_FEATURE = 'snapshots';

/** `quit`: end QEMU now, without waiting for the guest. */
const commandName = z.enum(['pause', 'resume', 'reset', 'quit']);

export const upMessage = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('hello'),
    protocol: z.literal(1),
    launcherVersion: text,
    /** Absent: a launcher. The incarnation of the others is the number of their attempt. */
    kind: z.enum(['launcher', 'mover', 'attachment']).optional(),
    incarnation: z.int(),
    /** Times that the launcher process was started again in this pod. */
    restarts: z.int(),
    /** What it understands beyond the first version. */
    features: z.array(text).max(16).optional(),
  }),
  z.strictObject({ type: z.literal('report'), report: launcherReport }),
  /** In the place of reports, from a mover. */
  z.strictObject({ type: z.literal('progress'), progress: moverProgress }),
  /** In the place of reports, from an attachment pod: whether its disk can be reached now. */
  z.strictObject({ type: z.literal('attachment'), exporting: z.boolean() }),
  z.strictObject({ type: z.literal('heartbeat') }),
  z.strictObject({
    type: z.literal('result'),
    id: text,
    error: z.strictObject({ code: text, message: text }).optional(),
  }),
]);
export type UpMessage = z.infer<typeof upMessage>;

/** Of TLS-PSK, as both ends of an attachment know it. */
const attachmentKey = z.string().regex(/^[0-9a-f]{64}$/);

export const downMessage = z.discriminatedUnion('type', [
  /** Carried out at most once for each id, also by a launcher that was restarted in between. */
  z.strictObject({ type: z.literal('command'), id: text, name: commandName }),
  /** How the disks of the machine are to be now; said again until a report has the revision. Needs LIVE_FEATURE. */
  z.strictObject({
    type: z.literal('machine'),
    revision: z.int(),
    disks: z.array(machineDisk).max(64),
    /** Hexadecimal keys of attached disks, by name: in no object of the API, and each good for one attachment. */
    keys: z.record(text, attachmentKey).optional(),
  }),
  /** Answered by a result when it is done; what is done already is no error. Needs SNAPSHOT_FEATURE. */
  z.strictObject({
    type: z.literal('snapshot'),
    id: text,
    take: snapshotOrder.optional(),
    /** UID of a snapshot to let go of. */
    forget: text.optional(),
  }),
  /** To an attachment pod: name and hexadecimal key of its export. */
  z.strictObject({ type: z.literal('export'), name: text, key: attachmentKey }),
  /** The VM belongs to another launcher, or to none: stop at once. */
  z.strictObject({ type: z.literal('disowned'), reason: text }),
  /** Echo of a heartbeat: a launcher that hears none for HEARTBEAT_DEADLINE dials again. */
  z.strictObject({ type: z.literal('heartbeat') }),
]);
export type DownMessage = z.infer<typeof downMessage>;
export type CommandName = z.infer<typeof commandName>;
