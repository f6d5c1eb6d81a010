/**
 * Hosted sparse extents with their descriptor inside (monolithicSparse, streamOptimized).
 * Source: VMware, Virtual Disk Format 5.0.
 */
import { unusable } from '../failure.ts';
import type { Reader } from './reader.ts';

const SECTOR = 512;
const LONGEST_DESCRIPTOR = 64 * 1024;
/** A grain directory at the end, as in a stream: the header's copy before it says where. */
const AT_END = 0xffffffffffffffffn;
const NO_PARENT = /^ffffffff$/i;

export async function inspectVmdk(reader: Reader): Promise<number> {
  const header = await reader.read(0, SECTOR);
  const version = header.readUInt32LE(4);
  if (version < 1 || version > 3)
    throw unusable(`the image is a VMDK of version ${version}; 1 to 3 are known`);
  const capacity = header.readBigUInt64LE(12);
  const descriptorAt = header.readBigUInt64LE(28);
  const descriptorSectors = header.readBigUInt64LE(36);
  // QEMU takes a header without capacity for a place to find names of other files in.
  if (capacity === 0n || descriptorAt === 0n || descriptorSectors === 0n) throw onePart();
  const length = Number(descriptorSectors) * SECTOR;
  if (length > LONGEST_DESCRIPTOR || descriptorAt > 1n << 32n)
    throw unusable('the image is a damaged VMDK: its descriptor is impossible');
  const text = (await reader.read(Number(descriptorAt) * SECTOR, length))
    .toString('latin1')
    .split('\0', 1)[0]!;
  checkDescriptor(text, capacity);
  if (header.readBigUInt64LE(56) === AT_END) await checkEnd(reader);
  return Number(capacity) * SECTOR;
}

function checkDescriptor(text: string, capacity: bigint): void {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const value = (key: string) =>
    lines
      .map((line) => /^([\w.]+)\s*=\s*"?([^"]*)"?$/.exec(line))
      .find((match) => match !== null && match[1]!.toLowerCase() === key.toLowerCase())?.[2];
  if (!NO_PARENT.test(value('parentCID') ?? 'ffffffff') || value('parentFileNameHint') !== undefined) {
    throw unusable(
      'the image is a VMDK that is only the difference to a parent; consolidate its snapshots first',
    );
  }
  const createType = value('createType');
  if (createType === undefined) throw onePart();
  if (createType !== 'monolithicSparse' && createType !== 'streamOptimized') {
    throw unusable(
      `the image is a VMDK of the type ${printable(createType)}, whose data are in other files; convert it to one file: qemu-img convert -O qcow2`,
    );
  }
  const extents = lines.filter((line) => /^(RW|RDONLY|NOACCESS)\s/.test(line));
  if (extents.length !== 1)
    throw unusable(`the image is a VMDK in ${extents.length} files; convert it to one`);
  const [, sectors, kind] = extents[0]!.split(/\s+/);
  if (kind !== 'SPARSE')
    throw unusable(`the image is a VMDK whose data are ${printable(kind ?? '')}, in another file`);
  if (sectors !== String(capacity))
    throw unusable('the image is a damaged VMDK: header and descriptor tell different sizes');
  if (value('encryptionKeys') !== undefined || value('encryption.keySafe') !== undefined)
    throw unusable('the image is an encrypted VMDK, and there is no key for it');
}

function onePart(): Error {
  return unusable(
    'the image is one part of a VMDK in several files; convert it to one file: qemu-img convert -O qcow2',
  );
}

/** The footer and the end-of-stream marker are the last 1.5 KiB: without them the file was cut off. */
async function checkEnd(reader: Reader): Promise<void> {
  if (reader.length === undefined) return;
  const end = await reader.read(reader.length - 3 * SECTOR, 3 * SECTOR);
  const footer = end.subarray(SECTOR, 2 * SECTOR);
  if (footer.toString('latin1', 0, 4) !== 'KDMV' || end.subarray(2 * SECTOR).some((byte) => byte !== 0)) {
    throw unusable('the image is a VMDK that was cut off: its footer is missing');
  }
}

function printable(text: string): string {
  return `"${text.slice(0, 32).replaceAll(/[^\x20-\x7e]/g, '?')}"`;
}
