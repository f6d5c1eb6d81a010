/**
 * Dynamic VHDX, as Hyper-V and Azure's tools take it: the tables at the front have their place, blocks of 1 MiB
 * follow as they come.
 * Source: Microsoft, [MS-VHDX]
 */
import { randomBytes } from 'node:crypto';
import { crc32c } from './crc32c.ts';
import { packed, unpacked, type WriterMaker } from './writer.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK = MIB;
const SECTOR = 512;
/** Blocks between two entries for sector bitmaps, which only files with a parent use. */
const CHUNK = (2 ** 23 * SECTOR) / BLOCK;
const METADATA_AT = 2 * MIB;
const TABLE_AT = 3 * MIB;
/** States of a block. */
const ZERO = 2n;
const PRESENT = 6n;
const IS_DISK = 2;
const IS_REQUIRED = 4;

const ID = {
  blockTable: '2dc27766-f623-4200-9d64-115e9bfd4a08',
  metadata: '8b7ca206-4790-4b9a-b8fe-575f050f886e',
  fileParameters: 'caa16737-fa36-4d43-b3b6-33f0aa44e76b',
  diskSize: '2fa54224-cd1b-4876-b211-5dbed83bf4b8',
  diskId: 'beca12ab-b2e6-4523-93ef-c309e000c746',
  logicalSector: '8141bf1d-a96f-4709-ba47-f233a8faab5f',
  physicalSector: 'cda348c7-445d-4471-9cc9-e9885251c556',
} as const;

export const vhdxWriter: WriterMaker = (sink, bytes, state) => {
  const blocks = Math.ceil(bytes / BLOCK);
  const entries = blocks + Math.floor(Math.max(0, blocks - 1) / CHUNK);
  const place = (block: number) => block + Math.floor(block / CHUNK);
  const table = state === undefined ? new BigUint64Array(entries) : unpacked(state.table as string);
  if (state === undefined) for (let block = 0; block < blocks; block++) table[place(block)] = ZERO;
  const tableLength = Math.max(MIB, Math.ceil((entries * 8) / MIB) * MIB);
  /** The next free MiB. */
  let next = (state?.next as number | undefined) ?? (TABLE_AT + tableLength) / MIB;
  return {
    async write(offset, data) {
      const block = Math.floor(offset / BLOCK);
      let entry = table[place(block)]!;
      if (entry === ZERO) {
        entry = (BigInt(next++) << 20n) | PRESENT;
        table[place(block)] = entry;
      }
      const at = Number(entry >> 20n) * MIB;
      await sink.write(at + (offset % BLOCK), data);
    },
    state: () => ({ table: packed(table), next }),
    async finish() {
      await sink.setLength(next * MIB);
      const littleEndian = Buffer.from(table.buffer, table.byteOffset, table.byteLength);
      await sink.write(TABLE_AT, littleEndian);
      await sink.write(METADATA_AT, metadata(bytes));
      const regions = regionTable(tableLength);
      await sink.write(192 * KIB, regions);
      await sink.write(256 * KIB, regions);
      const [written, content] = [randomBytes(16), randomBytes(16)];
      await sink.write(64 * KIB, header(1n, written, content));
      await sink.write(128 * KIB, header(2n, written, content));
      const identifier = Buffer.alloc(64 * KIB);
      identifier.write('vhdxfile', 0, 'latin1');
      identifier.write('Vmstead', 8, 'utf16le');
      await sink.write(0, identifier);
    },
  };
};

function header(sequence: bigint, written: Buffer, content: Buffer): Buffer {
  const buffer = Buffer.alloc(4 * KIB);
  buffer.write('head', 0, 'latin1');
  buffer.writeBigUInt64LE(sequence, 8);
  written.copy(buffer, 16);
  content.copy(buffer, 32);
  // No log to be replayed: its identifier stays zero.
  buffer.writeUInt16LE(1, 66);
  buffer.writeUInt32LE(MIB, 68);
  buffer.writeBigUInt64LE(BigInt(MIB), 72);
  buffer.writeUInt32LE(crc32c(buffer), 4);
  return buffer;
}

function regionTable(tableLength: number): Buffer {
  const buffer = Buffer.alloc(64 * KIB);
  buffer.write('regi', 0, 'latin1');
  buffer.writeUInt32LE(2, 8);
  const regions = [
    { id: ID.blockTable, at: TABLE_AT, length: tableLength },
    { id: ID.metadata, at: METADATA_AT, length: MIB },
  ];
  for (const [index, { id, at, length }] of regions.entries()) {
    const place = 16 + index * 32;
    guid(id).copy(buffer, place);
    buffer.writeBigUInt64LE(BigInt(at), place + 16);
    buffer.writeUInt32LE(length, place + 24);
    buffer.writeUInt32LE(1, place + 28);
  }
  buffer.writeUInt32LE(crc32c(buffer), 4);
  return buffer;
}

function metadata(bytes: number): Buffer {
  const buffer = Buffer.alloc(128 * KIB);
  buffer.write('metadata', 0, 'latin1');
  const uint = (length: 4 | 8, value: number) => {
    const item = Buffer.alloc(length);
    item.writeUIntLE(value, 0, Math.min(length, 6));
    return item;
  };
  const items = [
    { id: ID.fileParameters, content: uint(8, BLOCK), flags: IS_REQUIRED },
    { id: ID.diskSize, content: uint(8, bytes), flags: IS_DISK | IS_REQUIRED },
    { id: ID.diskId, content: randomBytes(16), flags: IS_DISK | IS_REQUIRED },
    { id: ID.logicalSector, content: uint(4, SECTOR), flags: IS_DISK | IS_REQUIRED },
    { id: ID.physicalSector, content: uint(4, 4096), flags: IS_DISK | IS_REQUIRED },
  ];
  buffer.writeUInt16LE(items.length, 10);
  let at = 64 * KIB;
  for (const [index, { id, content, flags }] of items.entries()) {
    const place = 32 + index * 32;
    guid(id).copy(buffer, place);
    buffer.writeUInt32LE(at, place + 16);
    buffer.writeUInt32LE(content.length, place + 20);
    buffer.writeUInt32LE(flags, place + 24);
    content.copy(buffer, at);
    at += content.length;
  }
  return buffer;
}

/** As Microsoft stores it: the first three numbers little end first. */
function guid(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}
