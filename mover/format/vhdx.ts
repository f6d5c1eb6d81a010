/** Source: Microsoft, [MS-VHDX]. */
import { unusable } from '../failure.ts';
import type { Reader } from './reader.ts';

const KIB = 1024;
const HEADERS = [64 * KIB, 128 * KIB];
const REGION_TABLE = 192 * KIB;
const METADATA_REGION = '06a27c8b90479a4bb8fe575f050f886e';
const FILE_PARAMETERS = '3767a1ca36fa434db3b633f0aa44e76b';
const VIRTUAL_DISK_SIZE = '2442a52f1bcd7648b2115dbed83bf4b8';
const HAS_PARENT = 2;
const MOST_ENTRIES = 2047;

export async function inspectVhdx(reader: Reader): Promise<number> {
  await checkLog(reader);
  const regions = await reader.read(REGION_TABLE, 64 * KIB);
  if (regions.toString('latin1', 0, 4) !== 'regi') throw damaged('it has no region table');
  const region = entry(regions, 16, regions.readUInt32LE(8), METADATA_REGION);
  if (region === undefined) throw damaged('it has no metadata');
  const metadataAt = Number(region.readBigUInt64LE(16));
  const table = await reader.read(metadataAt, 64 * KIB);
  if (table.toString('latin1', 0, 8) !== 'metadata') throw damaged('its metadata are missing');
  const item = async (id: string) => {
    const found = entry(table, 32, table.readUInt16LE(10), id);
    if (found === undefined) throw damaged('its metadata are incomplete');
    return await reader.read(metadataAt + found.readUInt32LE(16), 8);
  };
  if (((await item(FILE_PARAMETERS)).readUInt32LE(4) & HAS_PARENT) !== 0) {
    throw unusable('the image is a VHDX that is only the difference to a parent; merge it first');
  }
  return Number((await item(VIRTUAL_DISK_SIZE)).readBigUInt64LE(0));
}

/** A log that was not played back: the image was in use when it was copied. */
async function checkLog(reader: Reader): Promise<void> {
  const headers = (await Promise.all(HEADERS.map((at) => reader.read(at, 128)))).filter(
    (header) => header.toString('latin1', 0, 4) === 'head',
  );
  const [first, second] = headers;
  if (first === undefined) throw damaged('it has no header');
  const current =
    second !== undefined && second.readBigUInt64LE(8) > first.readBigUInt64LE(8) ? second : first;
  if (current.subarray(48, 64).some((byte) => byte !== 0)) {
    throw unusable(
      'the image is a VHDX that was not closed: copy it when its VM is off, or repair it: qemu-img check -r all',
    );
  }
}

/** The entry of 32 bytes with that GUID. */
function entry(table: Buffer, start: number, count: number, id: string): Buffer | undefined {
  const entries = Math.min(count, MOST_ENTRIES, Math.floor((table.length - start) / 32));
  for (let index = 0; index < entries; index++) {
    const found = table.subarray(start + index * 32, start + (index + 1) * 32);
    if (found.toString('hex', 0, 16) === id) return found;
  }
  return undefined;
}

function damaged(what: string): Error {
  return unusable(`the image is a damaged VHDX: ${what}`);
}
