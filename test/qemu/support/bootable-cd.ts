/**
 * A disk image as a CD-ROM that a BIOS boots: El Torito's hard disk emulation.
 * Source: "El Torito" Bootable CD-ROM Format Specification, version 1.0.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const SECTOR = 2048;
/** Sector of the CD-ROM at which the disk begins. */
export const DISK_SECTOR = 20;
const CATALOG_SECTOR = 19;
const BOOTABLE = 0x88;
const HARD_DISK = 4;

/** @param qcow2 with a boot loader in it. Returns the length of the disk in bytes. */
export async function makeBootableCd(qcow2: string, cd: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'vmstead-cd-'));
  try {
    const mounts = ['--volume', `${qcow2}:/disk.qcow2:ro`, '--volume', `${folder}:/out`];
    const convert = ['qemu-img', 'convert', '-O', 'raw', '/disk.qcow2', '/out/disk.img'];
    await promisify(execFile)('docker', [
      ...['run', '--rm', '--network=none', '--user=0', ...mounts, 'vmstead/qemu:dev', ...convert],
    ]);
    const disk = await readFile(join(folder, 'disk.img'));
    await writeFile(cd, Buffer.concat([head(disk), disk]));
    return disk.length;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function head(disk: Buffer): Buffer {
  const image = Buffer.alloc(DISK_SECTOR * SECTOR);
  const descriptor = (sector: number, type: number) => {
    image[sector * SECTOR] = type;
    image.write('CD001\x01', sector * SECTOR + 1, 'latin1');
  };
  descriptor(16, 1);
  descriptor(17, 0);
  image.write('EL TORITO SPECIFICATION', 17 * SECTOR + 7, 'latin1');
  image.writeUInt32LE(CATALOG_SECTOR, 17 * SECTOR + 0x47);
  descriptor(18, 255);
  const catalog = image.subarray(CATALOG_SECTOR * SECTOR);
  catalog[0] = 1;
  catalog.writeUInt16LE(0xaa55, 30);
  let sum = 0;
  for (let at = 0; at < 32; at += 2) sum += catalog.readUInt16LE(at);
  catalog.writeUInt16LE((0x10000 - (sum & 0xffff)) & 0xffff, 28);
  catalog[32] = BOOTABLE;
  catalog[33] = HARD_DISK;
  // The kind of its first partition.
  catalog[36] = disk[446 + 4] ?? 0;
  catalog.writeUInt16LE(1, 38);
  catalog.writeUInt32LE(DISK_SECTOR, 40);
  return image;
}
