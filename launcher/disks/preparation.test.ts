import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MachineDisk } from '../../crds/machine-description.ts';
import { blankBytes, createBlank } from './blank.ts';
import { resolveInside } from './inside.ts';
import { prepareDisks } from './prepare.ts';
import { createOverlay, inspectImage } from './qcow2.ts';

const MIB = 1024 * 1024;
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vmstead-disks-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function imageDisk(directory: string, path?: string): MachineDisk {
  const overlay = { path: join(root, 'overlay.qcow2'), maxBytes: 4 * MIB };
  return {
    name: 'root',
    device: 'disk',
    bus: 'virtio',
    serial: 'root',
    readOnly: false,
    backend: { type: 'image', directory, overlay, ...(path === undefined ? {} : { path }) },
  };
}

describe('a blank disk', () => {
  test('is thin and a little below its volume', () => {
    expect(blankBytes(10 * MIB, 1000 * MIB)).toBe(10 * MIB);
    expect(blankBytes(1000 * MIB, 1000 * MIB)).toBe(970 * MIB);
    const path = join(root, 'disk.img');
    expect(createBlank('data', path, { maxBytes: 8 * MIB })).toBe(true);
    expect(statSync(path).size).toBe(8 * MIB);
    expect(statSync(path).blocks).toBe(0);
  });

  test('is never made over data', () => {
    const path = join(root, 'disk.img');
    writeFileSync(path, 'data');
    expect(createBlank('data', path, { maxBytes: 8 * MIB })).toBe(false);
    expect(readFileSync(path, 'utf8')).toBe('data');
  });

  test('is not made beside data', () => {
    writeFileSync(join(root, 'old-disk.qcow2'), 'data');
    expect(() => createBlank('data', join(root, 'disk.img'), { maxBytes: 8 * MIB })).toThrow(
      'disk data: its volume has no disk.img but is not empty (old-disk.qcow2)',
    );
  });

  test('is made where a launcher was killed while it made one', () => {
    writeFileSync(join(root, '.vmstead-new'), '');
    mkdirSync(join(root, 'lost+found'));
    expect(createBlank('data', join(root, 'disk.img'), { maxBytes: 8 * MIB })).toBe(true);
  });
});

describe('paths in an image', () => {
  test('links mean the image, not the launcher', () => {
    mkdirSync(join(root, 'boot'));
    writeFileSync(join(root, 'boot/vmlinuz-6'), '');
    symlinkSync('/boot/vmlinuz-6', join(root, 'vmlinuz'));
    symlinkSync('../../../../boot', join(root, 'up'));
    expect(resolveInside(root, '/vmlinuz')).toBe(join(root, 'boot/vmlinuz-6'));
    expect(resolveInside(root, '/up/vmlinuz-6')).toBe(join(root, 'boot/vmlinuz-6'));
  });

  test('a link to a file of the launcher leads nowhere', () => {
    symlinkSync('/etc/passwd', join(root, 'disk.img'));
    expect(() => resolveInside(root, '/disk.img')).toThrow('there is no /disk.img in the image');
  });

  test('a loop ends', () => {
    symlinkSync('loop', join(root, 'loop'));
    expect(() => resolveInside(root, '/loop')).toThrow('/loop in the image is a loop of symbolic links');
  });
});

describe('a disk in an image', () => {
  test('is the only file in /disk unless named', () => {
    mkdirSync(join(root, 'disk'));
    expect(() => prepareDisks({ disks: [imageDisk(root)] }, 'native')).toThrow(
      'its image has no file in /disk',
    );
    writeFileSync(join(root, 'disk/a.img'), Buffer.alloc(MIB));
    expect(prepareDisks({ disks: [imageDisk(root)] }, 'native').disks[0]?.overlay?.base).toMatchObject({
      filename: join(root, 'disk/a.img'),
      format: 'raw',
    });
    writeFileSync(join(root, 'disk/b.img'), Buffer.alloc(MIB));
    expect(() => prepareDisks({ disks: [imageDisk(root)] }, 'native')).toThrow(
      'its image has 2 files in /disk',
    );
    expect(prepareDisks({ disks: [imageDisk(root, '/disk/b.img')] }, 'native').disks).toHaveLength(1);
  });

  test('cannot name another file to be opened', () => {
    const image = join(root, 'evil.qcow2');
    createOverlay(image, MIB, MIB);
    const header = readFileSync(image);
    header.writeBigUInt64BE(512n, 8);
    writeFileSync(image, header);
    expect(() => inspectImage(image, MIB)).toThrow('with a backing file');
    header.writeBigUInt64BE(0n, 8);
    header.writeBigUInt64BE(4n, 72);
    writeFileSync(image, header);
    expect(() => inspectImage(image, MIB)).toThrow('with an external data file');
  });
});

test('a claim that holds a link in the place of its disk is refused', () => {
  symlinkSync('/etc/passwd', join(root, 'disk.img'));
  const disk: MachineDisk = {
    ...imageDisk(root),
    backend: { type: 'file', path: join(root, 'disk.img'), format: 'raw' },
  };
  expect(() => prepareDisks({ disks: [disk] }, 'native')).toThrow('is not a regular file');
});
