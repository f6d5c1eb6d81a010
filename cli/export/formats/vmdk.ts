/**
 * Stream-optimised VMDK, as vSphere and VirtualBox take it in: compressed grains one after the other, each table
 * behind the grains that it names, and the directory at the end, which a copy of the header points to.
 * Source: VMware, Virtual Disk Format 5.0, "Stream-Optimized Compressed Sparse Extents"
 */
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import type { WriterMaker } from './writer.ts';

const compress = promisify(deflate) as (data: Uint8Array, options: { level: number }) => Promise<Buffer>;
const SECTOR = 512;
const GRAIN = 64 * 1024;
const GRAIN_SECTORS = GRAIN / SECTOR;
/** Grains that one table names. */
const ENTRIES = 512;
const TABLE_SECTORS = (ENTRIES * 4) / SECTOR;
const DESCRIPTOR_SECTORS = 20;
/** Sectors before the first grain. */
const OVERHEAD = 128;
const AT_END = 0xffff_ffff_ffff_ffffn;
const MARKER = { end: 0, table: 1, directory: 2, footer: 3 } as const;
/** Newlines can be checked, grains are compressed, there are markers. */
const FLAGS = 0x30001;
const LEVEL = 3;

export const vmdkWriter: WriterMaker = (sink, bytes, state) => {
  const sectors = Math.ceil(bytes / SECTOR);
  const grains = Math.ceil(bytes / GRAIN);
  const directory = new Uint32Array(Math.ceil(grains / ENTRIES));
  directory.set((state?.directory as number[] | undefined) ?? []);
  let table = Uint32Array.from((state?.table as number[] | undefined) ?? new Uint32Array(ENTRIES));
  let open = (state?.open as number | undefined) ?? -1;
  /** The next free sector. */
  let next = (state?.next as number | undefined) ?? OVERHEAD;

  const append = async (data: Buffer) => {
    const length = Math.ceil(data.length / SECTOR) * SECTOR;
    await sink.write(next * SECTOR, Buffer.concat([data], length));
    next += length / SECTOR;
  };
  const closeTable = async () => {
    if (open < 0) return;
    await append(marker(TABLE_SECTORS, MARKER.table));
    directory[open] = next;
    await append(Buffer.from(table.buffer));
    table = new Uint32Array(ENTRIES);
    open = -1;
  };

  return {
    async write(offset, data) {
      const parts: Promise<Buffer>[] = [];
      for (let at = 0; at < data.length; at += GRAIN) {
        // The last grain is whole too: zeroes stand behind the disk's end.
        const whole = Buffer.concat([data.subarray(at, at + GRAIN)], GRAIN);
        parts.push(compress(whole, { level: LEVEL }));
      }
      for (const [index, part] of (await Promise.all(parts)).entries()) {
        const grain = offset / GRAIN + index;
        if (Math.floor(grain / ENTRIES) !== open) {
          await closeTable();
          open = Math.floor(grain / ENTRIES);
        }
        table[grain % ENTRIES] = next;
        const head = Buffer.alloc(12);
        head.writeBigUInt64LE(BigInt(grain * GRAIN_SECTORS), 0);
        head.writeUInt32LE(part.length, 8);
        await append(Buffer.concat([head, part]));
      }
    },
    state: () => ({ directory: [...directory], table: [...table], open, next }),
    async finish() {
      await closeTable();
      const directorySectors = Math.ceil(directory.byteLength / SECTOR);
      await append(marker(directorySectors, MARKER.directory));
      const directoryAt = next;
      await append(Buffer.from(directory.buffer));
      await append(marker(1, MARKER.footer));
      await append(header(sectors, BigInt(directoryAt)));
      await append(marker(0, MARKER.end));
      await sink.setLength(next * SECTOR);
      await sink.write(SECTOR, Buffer.concat([descriptor(sectors)], DESCRIPTOR_SECTORS * SECTOR));
      await sink.write(0, header(sectors, AT_END));
    },
  };
};

function marker(sectors: number, type: number): Buffer {
  const buffer = Buffer.alloc(SECTOR);
  buffer.writeBigUInt64LE(BigInt(sectors), 0);
  buffer.writeUInt32LE(type, 12);
  return buffer;
}

function header(sectors: number, directoryAt: bigint): Buffer {
  const buffer = Buffer.alloc(SECTOR);
  buffer.write('KDMV', 0, 'latin1');
  buffer.writeUInt32LE(3, 4);
  buffer.writeUInt32LE(FLAGS, 8);
  buffer.writeBigUInt64LE(BigInt(sectors), 12);
  buffer.writeBigUInt64LE(BigInt(GRAIN_SECTORS), 20);
  buffer.writeBigUInt64LE(1n, 28);
  buffer.writeBigUInt64LE(BigInt(DESCRIPTOR_SECTORS), 36);
  buffer.writeUInt32LE(ENTRIES, 44);
  buffer.writeBigUInt64LE(directoryAt, 56);
  buffer.writeBigUInt64LE(BigInt(OVERHEAD), 64);
  buffer.write('\n \r\n', 73, 'latin1');
  buffer.writeUInt16LE(1, 77);
  return buffer;
}

/** Heads and sectors as VMware counts them: nothing reads them today. */
function descriptor(sectors: number): Buffer {
  const content = createHash('sha256').update(`${sectors}`).digest('hex').slice(0, 8);
  return Buffer.from(
    `# Disk DescriptorFile
version=1
CID=${content}
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW ${sectors} SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "4"
ddb.geometry.cylinders = "${Math.min(65535, Math.ceil(sectors / (255 * 63)))}"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.adapterType = "lsilogic"
`,
  );
}
