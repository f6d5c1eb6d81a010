/**
 * Disks that begin as an image: a qcow2 overlay, made once in the VM's own claim, on an image that is only read.
 * The overlay's header names the image by a mark that no file has. QEMU takes the mark out when it has copied all
 * of the image into the overlay: the header is the truth on whether the image is still needed.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineBase } from '../../crds/machine-description.ts';
import type { BaseStorage } from '../machine/host.ts';
import { blankBytes, createOnce } from './blank.ts';
import { CLUSTER, emptyImage, MAGIC } from './qcow2.ts';
import { deviceBytes, lookAt, regularFile, takesDirect } from './storage.ts';

/** In the place of a backing file's name. Nothing ever opens it: QEMU is given the node. */
const MARK = 'vmstead-base';
const MIB = 1024 * 1024;
/** qcow2's own tables take less than this part of a full disk. */
const TABLES = 1 / 4096;

/** @param path overlay file. Returns whether the base is needed. Throws DiskUnusable. */
export function overlayFile(
  disk: string,
  path: string,
  base: MachineBase | undefined,
  maxBytes: number,
): boolean {
  if (base !== undefined) {
    createOnce(disk, path, (file, free) => {
      const bytes = Math.max(base.virtualBytes, blankBytes(maxBytes, free));
      const { parts, length } = emptyImage(bytes, { file: MARK, format: base.format });
      for (const { at, content } of parts) writeSync(file, content, 0, content.length, at);
      ftruncateSync(file, length);
    });
  }
  regularFile(disk, path);
  return needsBase(disk, path, base);
}

/** Size of a disk whose overlay a device of so many bytes can hold whole. */
export function overlayBytesOn(deviceBytes: number): number {
  return Math.floor(((deviceBytes - 4 * MIB) * (1 - TABLES)) / MIB) * MIB;
}

/** @param device an open descriptor of the device that may be written to. Returns whether the base is needed. */
export function overlayDevice(
  disk: string,
  path: string,
  device: number,
  base: MachineBase | undefined,
): boolean {
  if (base !== undefined && isEmpty(path)) {
    const bytes = Math.max(base.virtualBytes, overlayBytesOn(deviceBytes(disk, path)));
    const { parts } = emptyImage(bytes, { file: MARK, format: base.format });
    const [header, ...tables] = parts;
    // Whole clusters: a device that was used before holds no zeroes. The header last: without it there is no image.
    for (const { at, content } of [...tables, { at: 0, content: Buffer.alloc(CLUSTER) }]) {
      const cluster = Buffer.alloc(Math.ceil(content.length / CLUSTER) * CLUSTER);
      content.copy(cluster);
      writeSync(device, cluster, 0, cluster.length, at);
    }
    fsyncSync(device);
    writeSync(device, header!.content, 0, header!.content.length, 0);
    fsyncSync(device);
  }
  return needsBase(disk, path, base);
}

function head(path: string): Buffer {
  const bytes = Buffer.alloc(CLUSTER);
  const file = openSync(path, 'r');
  try {
    readSync(file, bytes, 0, bytes.length, 0);
  } finally {
    closeSync(file);
  }
  return bytes;
}

const isEmpty = (path: string): boolean => head(path).every((byte) => byte === 0);

/** Whether an overlay that is there still needs the image that it was made from. */
export function isOnBase(path: string): boolean {
  return backingName(head(path)) === MARK;
}

/** What stands in the header of a qcow2 image in the place of a backing file; undefined where nothing does. */
function backingName(header: Buffer): string | undefined {
  const at = header.readUInt32BE(0) === MAGIC ? Number(header.readBigUInt64BE(8)) : 0;
  return at === 0 ? undefined : header.subarray(at, at + header.readUInt32BE(16)).toString('latin1');
}

function needsBase(disk: string, path: string, base: MachineBase | undefined): boolean {
  const header = head(path);
  const refuse = (what: string): never => {
    throw new VmsteadError('DiskUnusable', `disk ${disk}: ${path} ${what}`);
  };
  const isOverlay = header.readUInt32BE(0) === MAGIC;
  const name = backingName(header);
  const marked = name === MARK;
  if (base === undefined) {
    return marked
      ? refuse('still needs the image that it was made from, which the pod does not have')
      : false;
  }
  if (!isOverlay) {
    return refuse(
      'holds data that are no disk made from an image; they are not written over: empty it, or give the disk another name',
    );
  }
  if (name !== undefined && !marked)
    return refuse('is a qcow2 image with a backing file, which Vmstead did not make');
  return marked;
}

/** What QEMU is to open for an image. Throws DiskUnusable. */
export function baseStorage(disk: string, base: MachineBase, direct: boolean): BaseStorage {
  const { path, format, type, bytes } = base;
  if (type === 'file') {
    regularFile(disk, path);
    return { driver: 'file', filename: path, format, direct: takesDirect(disk, path, true) && direct };
  }
  if (lookAt(path)?.isBlockDevice() !== true) {
    throw new VmsteadError(
      'DiskUnusable',
      `disk ${disk}: there is no device ${path} with its image in the pod`,
    );
  }
  // Many read it at once: nobody claims it. Formats with a footer look for it at the end of the image.
  return {
    driver: 'host_device',
    filename: path,
    format,
    direct: takesDirect(disk, path, true) && direct,
    size: Math.ceil(bytes / 512) * 512,
  };
}
