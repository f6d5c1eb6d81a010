/** Limits of a disk: as the description has them, and as QEMU counts them. */
import type { DiskLimits } from '../../../crds/machine-description.ts';
import type { BlockInserted } from '../../qmp/commands.ts';

const QEMU_NAME = {
  iops: 'iops',
  readIops: 'iops_rd',
  writeIops: 'iops_wr',
  bandwidth: 'bps',
  readBandwidth: 'bps_rd',
  writeBandwidth: 'bps_wr',
} as const satisfies Record<keyof DiskLimits, keyof BlockInserted>;

type Throttle = Record<(typeof QEMU_NAME)[keyof DiskLimits], number>;

/** For QEMU 0 is no limit. */
export function throttleOf(limits: DiskLimits = {}): Throttle {
  const entries = Object.entries(QEMU_NAME) as [keyof DiskLimits, keyof Throttle][];
  return Object.fromEntries(entries.map(([ours, qemus]) => [qemus, limits[ours] ?? 0])) as Throttle;
}

export function limitsIn(inserted: BlockInserted): DiskLimits {
  const entries = Object.entries(QEMU_NAME) as [keyof DiskLimits, keyof Throttle][];
  return Object.fromEntries(
    entries.flatMap(([ours, qemus]) => (inserted[qemus] > 0 ? [[ours, inserted[qemus]]] : [])),
  );
}

export function sameLimits(a: DiskLimits = {}, b: DiskLimits = {}): boolean {
  return (Object.keys(QEMU_NAME) as (keyof DiskLimits)[]).every((name) => a[name] === b[name]);
}
