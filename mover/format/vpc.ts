/** VHD. Source: Microsoft, Virtual Hard Disk Image Format Specification. */
import { unusable } from '../failure.ts';
import { type Reader, TooShort } from './reader.ts';

const FOOTER = 512;
const TYPE = { fixed: 2, dynamic: 3 };
const COOKIE = 'conectix';
const UNUSED = 0xffffffff;
const SECTOR = 512;

/** A VHD that begins with the copy of its footer: one that grows. */
export async function inspectVpc(reader: Reader): Promise<number> {
  const footer = checked(await reader.read(0, FOOTER));
  const type = footer.readUInt32BE(60);
  if (type !== TYPE.dynamic) {
    throw unusable('the image is a VHD that is only the difference to a parent; merge it first');
  }
  const virtualBytes = Number(footer.readBigUInt64BE(48));
  if (reader.length === undefined) return virtualBytes;
  const last = await reader.read(reader.length - FOOTER, FOOTER);
  if (last.toString('latin1', 0, 8) !== COOKIE)
    throw unusable('the image is a VHD that was cut off: its footer is missing');
  const header = await reader.read(Number(footer.readBigUInt64BE(16)), 1024);
  if (header.toString('latin1', 0, 8) !== 'cxsparse')
    throw unusable('the image is a damaged VHD: it has no dynamic header');
  await checkTable(reader, header, virtualBytes);
  return virtualBytes;
}

/** No block may lie beyond the end. */
async function checkTable(reader: Reader, header: Buffer, virtualBytes: number): Promise<void> {
  const tableAt = Number(header.readBigUInt64BE(16));
  const entries = header.readUInt32BE(28);
  const blockBytes = header.readUInt32BE(32);
  const bitmapBytes = Math.ceil(blockBytes / SECTOR / 8 / SECTOR) * SECTOR;
  if (blockBytes < SECTOR || entries * blockBytes < virtualBytes)
    throw unusable('the image is a damaged VHD: its table is too short');
  const step = 16 * 1024;
  for (let entry = 0; entry < entries; entry += step) {
    const part = await reader.read(tableAt + entry * 4, Math.min(step, entries - entry) * 4);
    for (let at = 0; at < part.length; at += 4) {
      const sector = part.readUInt32BE(at);
      if (sector !== UNUSED && sector * SECTOR + bitmapBytes + blockBytes > reader.length!) {
        throw unusable('the image is a VHD that was cut off: a block lies beyond its end');
      }
    }
  }
}

/**
 * Whether what looks raw is a VHD of fixed size: its footer is at the end. Returns its virtual size, undefined
 * when there is no footer.
 */
export async function fixedVpc(reader: Reader): Promise<number | undefined> {
  if (reader.length === undefined || reader.length < FOOTER + SECTOR) return undefined;
  const footer = await reader.read(reader.length - FOOTER, FOOTER);
  if (footer.toString('latin1', 0, 8) !== COOKIE || footer.readUInt32BE(60) !== TYPE.fixed) return undefined;
  const virtualBytes = Number(checked(footer).readBigUInt64BE(48));
  if (virtualBytes > reader.length - FOOTER) throw new TooShort();
  return virtualBytes;
}

function checked(footer: Buffer): Buffer {
  let sum = 0;
  for (const [at, byte] of footer.entries()) if (at < 64 || at >= 68) sum += byte;
  if (~sum >>> 0 !== footer.readUInt32BE(64))
    throw unusable('the image is a damaged VHD: the checksum of its footer is wrong');
  return footer;
}
