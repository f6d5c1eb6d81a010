/** How large a claim has to be for what goes into it. */
import { formatBytes } from './quantity.ts';

const MIB = 1024n * 1024n;
/** A file system's own tables and journal: 6 % and 32 MiB, which ext4 and XFS stay below. */
const TABLES = { part: 16n, least: 32n * MIB };
/** A device with a qcow2 image on it holds that image's tables besides: less than 1/2048, and their beginnings. */
const IMAGE_TABLES = { part: 2048n, least: 8n * MIB };

export type VolumeMode = 'Filesystem' | 'Block';

/** Size of a claim, in whole MiB, for a file of so many bytes, or for as many on a device. */
export function claimSizeFor(bytes: number, volumeMode: VolumeMode = 'Filesystem'): string {
  const exact = BigInt(Math.ceil(bytes));
  return inMebibytes(volumeMode === 'Block' ? exact : exact + exact / TABLES.part + TABLES.least);
}

/** Size of a claim for a VM's disk that may be written full, whatever format it is in. */
export function diskClaimSizeFor(virtualBytes: number, volumeMode: VolumeMode = 'Filesystem'): string {
  const full = BigInt(virtualBytes) + BigInt(virtualBytes) / IMAGE_TABLES.part + IMAGE_TABLES.least;
  return claimSizeFor(Number(full), volumeMode);
}

function inMebibytes(bytes: bigint): string {
  const whole = (bytes + MIB - 1n) / MIB;
  return formatBytes((whole > 0n ? whole : 1n) * MIB);
}
