/**
 * As much of qcow2 as the launcher needs: the header of an image that others made, and an empty overlay.
 * Source: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { VmsteadError } from '../../crds/errors.ts';

export const MAGIC = 0x514649fb;
const CLUSTER_BITS = 16;
export const CLUSTER = 1 << CLUSTER_BITS;
/** What one L2 table, a cluster of 8-byte entries, maps. */
const L2_SPAN = (CLUSTER / 8) * CLUSTER;
const HEADER_LENGTH = 112;
const EXTERNAL_DATA_FILE = 1n << 2n;
const BACKING_FORMAT = 0xe2792aca;

export interface ImageFormat {
  format: 'raw' | 'qcow2';
  virtualBytes: number;
}

/**
 * Format and size of a disk in an image. The image is read-only and no guest writes to it, so that its first
 * bytes may be believed; whatever would make QEMU open another file is refused (DiskUnusable).
 */
export function inspectImage(path: string, fileBytes: number): ImageFormat {
  const header = Buffer.alloc(HEADER_LENGTH);
  const file = openSync(path, 'r');
  try {
    readSync(file, header, 0, HEADER_LENGTH, 0);
  } finally {
    closeSync(file);
  }
  if (header.readUInt32BE(0) !== MAGIC) {
    if (fileBytes === 0) throw new VmsteadError('DiskUnusable', `${path} is empty`);
    return { format: 'raw', virtualBytes: Math.ceil(fileBytes / 512) * 512 };
  }
  const version = header.readUInt32BE(4);
  const refuse = (what: string): never => {
    throw new VmsteadError(
      'DiskUnusable',
      `${path} is a qcow2 image ${what}; convert it with qemu-img convert`,
    );
  };
  if (version !== 2 && version !== 3) refuse(`of version ${version}`);
  if (header.readBigUInt64BE(8) !== 0n) refuse('with a backing file');
  if (header.readUInt32BE(32) !== 0) refuse('that is encrypted');
  if (version === 3 && (header.readBigUInt64BE(72) & EXTERNAL_DATA_FILE) !== 0n)
    refuse('with an external data file');
  return { format: 'qcow2', virtualBytes: Number(header.readBigUInt64BE(24)) };
}

/**
 * Writes an empty qcow2 image of `virtualBytes` over what is at `path`. Its backing image stands on QEMU's
 * command line, not in the header. The file is made (sparse) as long as it may ever grow; returns that length.
 */
export function createOverlay(path: string, virtualBytes: number, maxDataBytes: number): number {
  return writeEmpty(path, virtualBytes, maxDataBytes, undefined);
}

/**
 * Makes an empty layer of `virtualBytes`, on its storage when this returns. What lies below stands in its header
 * for people with qemu-img; the launcher itself never believes that.
 */
export function createLayer(path: string, virtualBytes: number, below: Backing): void {
  writeEmpty(path, virtualBytes, 0, below);
}

/** Size of the disk in a file of ours. */
export function virtualBytes(path: string, format: ImageFormat['format']): number {
  if (format === 'raw') return statSync(path).size;
  const size = Buffer.alloc(8);
  const file = openSync(path, 'r');
  try {
    readSync(file, size, 0, size.length, 24);
  } finally {
    closeSync(file);
  }
  return Number(size.readBigUInt64BE());
}

interface Backing {
  file: string;
  format: string;
}

/** Header extension with the format below, the end of extensions, and the name behind them. */
function writeBacking(header: Buffer, { file, format }: Backing): Buffer {
  const extension = Buffer.alloc(24);
  extension.writeUInt32BE(BACKING_FORMAT, 0);
  extension.writeUInt32BE(format.length, 4);
  extension.write(format, 8, 'ascii');
  const name = Buffer.from(file);
  header.writeBigUInt64BE(BigInt(HEADER_LENGTH + extension.length), 8);
  header.writeUInt32BE(name.length, 16);
  return Buffer.concat([extension, name]);
}

interface EmptyImage {
  /** The header first. Between them, and behind them up to `length`, are zeroes. */
  parts: { at: number; content: Buffer }[];
  length: number;
}

/** @param below what stands in the header as the backing file */
export function emptyImage(virtualBytes: number, below: Backing | undefined): EmptyImage {
  const l1Entries = Math.max(1, Math.ceil(virtualBytes / L2_SPAN));
  const l1Clusters = Math.ceil((l1Entries * 8) / CLUSTER);
  const used = 3 + l1Clusters;

  const header = Buffer.alloc(HEADER_LENGTH);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(3, 4);
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(virtualBytes), 24);
  header.writeUInt32BE(l1Entries, 36);
  header.writeBigUInt64BE(BigInt(3 * CLUSTER), 40); // the L1 table
  header.writeBigUInt64BE(BigInt(CLUSTER), 48); // the refcount table
  header.writeUInt32BE(1, 56); // its clusters
  header.writeUInt32BE(4, 96); // refcounts of 2⁴ bits
  header.writeUInt32BE(HEADER_LENGTH, 100);
  const behind = below === undefined ? Buffer.alloc(0) : writeBacking(header, below);

  const refcountTable = Buffer.alloc(8);
  refcountTable.writeBigUInt64BE(BigInt(2 * CLUSTER));
  const refcounts = Buffer.alloc(used * 2);
  for (let cluster = 0; cluster < used; cluster++) refcounts.writeUInt16BE(1, cluster * 2);

  return {
    parts: [
      { at: 0, content: Buffer.concat([header, behind]) },
      { at: CLUSTER, content: refcountTable },
      { at: 2 * CLUSTER, content: refcounts },
      { at: 3 * CLUSTER, content: Buffer.alloc(l1Clusters * CLUSTER) },
    ],
    length: used * CLUSTER,
  };
}

function writeEmpty(
  path: string,
  virtualBytes: number,
  maxDataBytes: number,
  below: Backing | undefined,
): number {
  const image = emptyImage(virtualBytes, below);
  const length = overlayBytes(image.length / CLUSTER, maxDataBytes);
  const file = openSync(path, 'w', 0o600);
  try {
    for (const { at, content } of image.parts) writeSync(file, content, 0, content.length, at);
    ftruncateSync(file, length);
    if (below !== undefined) fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return length;
}

/** The overlay's own tables come on top of what the guest may write: less than a two-thousandth, and a first few. */
function overlayBytes(usedClusters: number, maxDataBytes: number): number {
  const clusters =
    usedClusters + 8 + Math.ceil(maxDataBytes / CLUSTER) + Math.ceil(maxDataBytes / 2048 / CLUSTER);
  return clusters * CLUSTER;
}
