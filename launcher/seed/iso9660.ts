/**
 * A small ISO 9660 image: files in one folder, with their names as Rock Ridge (Unix) and Joliet (Windows) have
 * them. The same files give the same bytes.
 * Sources: ECMA-119; IEEE P1281 (SUSP) and P1282 (Rock Ridge); Joliet Specification.
 */

export interface IsoFile {
  name: string;
  content: Uint8Array;
}

const SECTOR = 2048;
/** Where things are; the folders come after the tables, as long as they are, and then the files. */
const AT = { primary: 16, joliet: 17, end: 18, tables: 19, folders: 23 } as const;
/** Longest name of a file: Joliet's own 64 characters are exceeded by every tool, up to what a record holds. */
export const LONGEST_NAME = 103;
const PATH_TABLE_BYTES = 10;
/** 2020-01-01T00:00:00Z. */
const RECORDED = Buffer.from([120, 1, 1, 0, 0, 0, 0]);
const REGULAR_FILE = 0o100444;
const DIRECTORY = 0o040555;

/** Numbers stand in both byte orders, one after the other. */
function both32(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32LE(value, at);
  buffer.writeUInt32BE(value, at + 4);
}

function both16(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt16LE(value, at);
  buffer.writeUInt16BE(value, at + 2);
}

function ucs2(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16();
}

/** An entry of the system use area: signature, length, version, content. */
function susp(signature: string, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from(signature, 'latin1'), Buffer.from([content.length + 4, 1]), content]);
}

function posix(mode: number): Buffer {
  const fields = Buffer.alloc(32);
  both32(fields, 0, mode);
  both32(fields, 8, 1);
  return susp('PX', fields);
}

/** A directory record: ECMA-119 9.1. */
function record(id: Buffer, at: number, bytes: number, directory: boolean, systemUse: Buffer): Buffer {
  const idEnd = 33 + id.length + ((id.length + 1) % 2);
  const length = idEnd + systemUse.length;
  const buffer = Buffer.alloc(length + (length % 2));
  buffer[0] = buffer.length;
  both32(buffer, 2, at);
  both32(buffer, 10, bytes);
  RECORDED.copy(buffer, 18);
  buffer[25] = directory ? 2 : 0;
  both16(buffer, 28, 1);
  buffer[32] = id.length;
  id.copy(buffer, 33);
  systemUse.copy(buffer, idEnd);
  return buffer;
}

const SELF = Buffer.from([0]);
const PARENT = Buffer.from([1]);
const NONE = Buffer.alloc(0);

interface Placed extends IsoFile {
  at: number;
}

/** Records one after the other; none goes over the end of a sector. */
function sectorsOf(records: readonly Buffer[]): Buffer {
  const sectors: Buffer[] = [];
  let [sector, used] = [Buffer.alloc(SECTOR), 0];
  for (const each of records) {
    if (used + each.length > SECTOR) {
      sectors.push(sector);
      [sector, used] = [Buffer.alloc(SECTOR), 0];
    }
    used += each.copy(sector, used);
  }
  return Buffer.concat([...sectors, sector]);
}

type Names = 'rockRidge' | 'joliet';

/**
 * The folder, of which only the length is right where nothing is known yet of places.
 * @param bytes length of the folder itself
 */
function directory(self: number, bytes: number, files: readonly Placed[], names: Names): Buffer {
  const rockRidge = names === 'rockRidge';
  const start = susp('SP', Buffer.from([0xbe, 0xef, 0]));
  // Without the extension's name Linux and xorriso take the Joliet names.
  const extension = susp('ER', Buffer.from('\x0a\x00\x00\x01RRIP_1991A', 'latin1'));
  return sectorsOf([
    record(SELF, self, bytes, true, rockRidge ? Buffer.concat([start, posix(DIRECTORY), extension]) : NONE),
    record(PARENT, self, bytes, true, rockRidge ? posix(DIRECTORY) : NONE),
    // In the order of their names, as ECMA-119 9.3 has it: the short ones count up.
    ...files.map(({ name, at, content }, index) => {
      if (!rockRidge) return record(ucs2(name), at, content.length, false, NONE);
      const nm = susp('NM', Buffer.concat([Buffer.from([0]), Buffer.from(name)]));
      const id = Buffer.from(`F${String(index).padStart(7, '0')}.;1`);
      return record(id, at, content.length, false, Buffer.concat([posix(REGULAR_FILE), nm]));
    }),
  ]);
}

function pathTable(root: number, order: 'LE' | 'BE'): Buffer {
  const sector = Buffer.alloc(SECTOR);
  sector[0] = 1;
  if (order === 'LE') {
    sector.writeUInt32LE(root, 2);
    sector.writeUInt16LE(1, 6);
  } else {
    sector.writeUInt32BE(root, 2);
    sector.writeUInt16BE(1, 6);
  }
  return sector;
}

interface Descriptor {
  type: 1 | 2;
  volumeId: string;
  sectors: number;
  root: number;
  rootBytes: number;
  /** Sector of the little-endian path table; the big-endian one follows. */
  table: number;
}

/** A volume descriptor: ECMA-119 8.4 and 8.5. */
function descriptor({ type, volumeId, sectors, root, rootBytes, table }: Descriptor): Buffer {
  const joliet = type === 2;
  const encode = (text: string) => (joliet ? ucs2(text) : Buffer.from(text, 'latin1'));
  const blank = joliet ? ucs2(' '.repeat(1024)) : Buffer.alloc(2048, ' ');
  const buffer = Buffer.alloc(SECTOR);
  const text = (at: number, length: number, value: string) => {
    Buffer.concat([encode(value), blank]).copy(buffer, at, 0, length);
  };
  buffer[0] = type;
  buffer.write('CD001', 1, 'latin1');
  buffer[6] = 1;
  text(8, 32, '');
  text(40, 32, volumeId);
  both32(buffer, 80, sectors);
  if (joliet) buffer.write('%/E', 88, 'latin1'); // UCS-2 level 3
  both16(buffer, 120, 1);
  both16(buffer, 124, 1);
  both16(buffer, 128, SECTOR);
  both32(buffer, 132, PATH_TABLE_BYTES);
  buffer.writeUInt32LE(table, 140);
  buffer.writeUInt32BE(table + 1, 148);
  record(SELF, root, rootBytes, true, NONE).copy(buffer, 156);
  for (const [at, length] of [
    [190, 128],
    [318, 128],
    [446, 128],
    [574, 128],
    [702, 37],
    [739, 37],
    [776, 37],
  ] as const) {
    text(at, length, '');
  }
  for (const at of [813, 830, 847, 864]) {
    buffer.write('0000000000000000', at, 'latin1');
  }
  buffer[881] = 1;
  return buffer;
}

/** The image as a whole. Names and the label are ASCII, the label of at most the 16 characters that Joliet has room for. */
export function iso9660(volumeId: string, files: readonly IsoFile[]): Buffer {
  const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  const unplaced = sorted.map((file) => ({ ...file, at: 0 }));
  const lengthOf = (names: Names) => directory(0, 0, unplaced, names).length;
  const primary = { root: AT.folders as number, rootBytes: lengthOf('rockRidge') };
  const joliet = { root: primary.root + primary.rootBytes / SECTOR, rootBytes: lengthOf('joliet') };
  let sectors = joliet.root + joliet.rootBytes / SECTOR;
  const placed = sorted.map((file): Placed => {
    const at = sectors;
    sectors += Math.ceil(file.content.length / SECTOR);
    return { ...file, at };
  });
  const image = Buffer.alloc(sectors * SECTOR);
  const put = (sector: number, content: Uint8Array) => image.set(content, sector * SECTOR);
  put(AT.primary, descriptor({ type: 1, volumeId, sectors, ...primary, table: AT.tables }));
  put(AT.joliet, descriptor({ type: 2, volumeId, sectors, ...joliet, table: AT.tables + 2 }));
  put(AT.end, Buffer.from('\xffCD001\x01', 'latin1'));
  put(AT.tables, pathTable(primary.root, 'LE'));
  put(AT.tables + 1, pathTable(primary.root, 'BE'));
  put(AT.tables + 2, pathTable(joliet.root, 'LE'));
  put(AT.tables + 3, pathTable(joliet.root, 'BE'));
  put(primary.root, directory(primary.root, primary.rootBytes, placed, 'rockRidge'));
  put(joliet.root, directory(joliet.root, joliet.rootBytes, placed, 'joliet'));
  for (const { at, content } of placed) put(at, content);
  return image;
}
