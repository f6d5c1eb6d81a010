/** What a launcher is told to do about a snapshot. */
import * as z from 'zod';

export const quiesce = z.enum(['Auto', 'Required', 'Never']);
export type Quiesce = z.infer<typeof quiesce>;

const uid = z.string().max(64);
const name = z.string().max(253);

export const snapshotOrder = z.strictObject({
  uid,
  name,
  /** The guest's memory as well as its disks. */
  memory: z.boolean(),
  quiesce,
  deadlineSeconds: z.int(),
  /** Of a VM that is off: its guest powered itself off, so that its file systems are whole. */
  poweredOff: z.literal(true).optional(),
});
export type SnapshotOrder = z.infer<typeof snapshotOrder>;

/** One snapshot that is whole, as the launcher that holds its layers sees it. */
export const snapshotReport = z.strictObject({
  uid,
  name,
  at: z.string().max(64),
  /** The guest's file systems were written out and held still meanwhile. */
  frozen: z.boolean(),
  /** Milliseconds that the guest stood still. */
  pause: z.int().optional(),
  memory: z.strictObject({ bytes: z.int(), sha256: z.string().max(64).optional() }).optional(),
  /** Bytes of the layer that the snapshot froze; its checksum once it was read through. */
  disks: z
    .array(
      z.strictObject({ name: z.string().max(64), bytes: z.int(), sha256: z.string().max(64).optional() }),
    )
    .max(64),
});
export type SnapshotReport = z.infer<typeof snapshotReport>;

/** What the next start goes back to. */
export const restoreOrder = z.strictObject({
  uid,
  /** Tried in this order; the first that is whole is taken. */
  snapshots: z.array(z.strictObject({ uid, name })).min(1).max(16),
  /** Exclude: boot from the disks. */
  memory: z.enum(['Include', 'IncludeIfThere', 'Exclude']),
});
export type RestoreOrder = z.infer<typeof restoreOrder>;

export const restoreReport = z.strictObject({
  uid,
  snapshot: z.strictObject({ uid, name }),
  /** The guest goes on where it was. */
  memory: z.boolean(),
  /** The guest's clock was set right by its agent. */
  clockSet: z.boolean().optional(),
  /** Why newer snapshots were passed over. */
  refused: z.array(z.string().max(512)).max(16).optional(),
});
export type RestoreReport = z.infer<typeof restoreReport>;
