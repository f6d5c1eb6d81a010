import { describe, expect, test } from 'vitest';
import { DETECT_BYTES, wrapperOf } from './detect.ts';
import { inspect } from './inspect.ts';
import { HeadReader } from './reader.ts';

const MIB = 1024 * 1024;
const of = (image: Buffer, complete = true) =>
  inspect(new HeadReader(image, complete), image.subarray(0, DETECT_BYTES), 64 * MIB);

function qcow2(change: (header: Buffer) => void = () => {}): Buffer {
  const header = Buffer.alloc(65536);
  header.write('QFI\xfb', 'latin1');
  header.writeUInt32BE(3, 4);
  header.writeUInt32BE(16, 20);
  header.writeBigUInt64BE(BigInt(10 * MIB), 24);
  change(header);
  return header;
}

function vmdk(descriptor: string, change: (header: Buffer) => void = () => {}): Buffer {
  const image = Buffer.alloc(64 * 1024);
  image.write('KDMV', 'latin1');
  image.writeUInt32LE(1, 4);
  image.writeBigUInt64LE(20480n, 12);
  image.writeBigUInt64LE(1n, 28);
  image.writeBigUInt64LE(20n, 36);
  image.write(descriptor, 512);
  change(image);
  return image;
}
const DESCRIPTOR =
  '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicSparse"\nRW 20480 SPARSE "a.vmdk"\n';

function vdi(change: (header: Buffer) => void = () => {}): Buffer {
  const image = Buffer.alloc(2 * MIB);
  image.writeUInt32LE(0xbeda107f, 64);
  image.writeUInt32LE(0x00010001, 68);
  image.writeUInt32LE(1, 76);
  image.writeUInt32LE(MIB, 344);
  image.writeBigUInt64LE(BigInt(10 * MIB), 368);
  image.writeUInt32LE(MIB, 376);
  image.writeUInt32LE(10, 384);
  image.writeUInt32LE(1, 388);
  change(image);
  return image;
}

function footer(type: number, bytes: number): Buffer {
  const block = Buffer.alloc(512);
  block.write('conectix', 'latin1');
  block.writeBigUInt64BE(BigInt(bytes), 48);
  block.writeUInt32BE(type, 60);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.writeUInt32BE(~sum >>> 0, 64);
  return block;
}

describe('what is taken', () => {
  test.each([
    ['raw', Buffer.alloc(1000, 1), { format: 'raw', virtualBytes: 1024, iso: false }],
    ['qcow2', qcow2(), { format: 'qcow2', virtualBytes: 10 * MIB, iso: false }],
    ['VMDK', vmdk(DESCRIPTOR), { format: 'vmdk', virtualBytes: 10 * MIB, iso: false }],
    ['VDI', vdi(), { format: 'vdi', virtualBytes: 10 * MIB, iso: false }],
    [
      'fixed VHD, by its end',
      Buffer.concat([Buffer.alloc(MIB, 2), footer(2, MIB)]),
      { format: 'vpc', virtualBytes: MIB, iso: false },
    ],
    [
      'ISO',
      Buffer.concat([Buffer.alloc(32769), Buffer.from('CD001'), Buffer.alloc(4090)]),
      { format: 'raw', virtualBytes: 36864, iso: true },
    ],
  ])('%s', async (_name, image, found) => {
    expect(await of(image)).toEqual(found);
  });

  test('raw is not told apart from a fixed VHD before its end', async () => {
    expect(await of(Buffer.alloc(65536, 1), false)).toBeUndefined();
  });
});

const tar = Buffer.alloc(10240);
tar.write('../../etc/cron.d/evil');
tar.write('ustar', 257);

describe('what is refused, with the reason', () => {
  test.each([
    ['an empty file', Buffer.alloc(0), 'the source is empty'],
    ['a word', Buffer.from('Not Found\n'), 'only 10 bytes'],
    ['a web page', Buffer.from(`\n<!DOCTYPE html>${' '.repeat(600)}`), 'a web page'],
    ['JSON', Buffer.from(`{"error":"${' '.repeat(600)}"}`), 'JSON, no disk'],
    ['tar with ..', tar, 'a tar archive'],
    ['zip', Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(600)]), 'a zip archive'],
    [
      'LUKS',
      Buffer.concat([Buffer.from('LUKS\xba\xbe', 'latin1'), Buffer.alloc(600)]),
      'encrypted with LUKS',
    ],
    ['qcow2 of version 1', qcow2((header) => header.writeUInt32BE(1, 4)), 'of version 1'],
    ['backing file', qcow2((header) => header.writeBigUInt64BE(512n, 8)), 'with a backing file'],
    ['encrypted qcow2', qcow2((header) => header.writeUInt32BE(2, 32)), 'encrypted qcow2'],
    ['data file', qcow2((header) => header.writeBigUInt64BE(4n, 72)), 'with an external data file'],
    ['corrupt', qcow2((header) => header.writeBigUInt64BE(2n, 72)), 'marked as corrupt'],
    [
      'unknown features',
      qcow2((header) => header.writeBigUInt64BE(1n << 40n, 72)),
      'unknown features (0x10000000000)',
    ],
    ['no disk in it', qcow2((header) => header.writeBigUInt64BE(0n, 24)), 'an empty qcow2 disk'],
    ['cut header', qcow2().subarray(0, 80), 'was cut off'],
    ['VMDK descriptor', Buffer.from(DESCRIPTOR.padEnd(600)), 'whose data are in other files'],
    ['part of a VMDK', vmdk('', (image) => image.writeBigUInt64LE(0n, 28)), 'one part of a VMDK'],
    // QEMU would open the extents that the descriptor names.
    [
      'VMDK without capacity',
      vmdk(DESCRIPTOR, (image) => image.writeBigUInt64LE(0n, 12)),
      'one part of a VMDK',
    ],
    ['flat VMDK', vmdk(DESCRIPTOR.replace('monolithicSparse', 'monolithicFlat')), '"monolithicFlat"'],
    ['flat extent', vmdk(DESCRIPTOR.replace('SPARSE', 'FLAT')), '"FLAT", in another file'],
    ['two extents', vmdk(`${DESCRIPTOR}RW 1 SPARSE "/etc/passwd"\n`), 'in 2 files'],
    ['VMDK with a parent', vmdk(DESCRIPTOR.replace('ffffffff', '12345678')), 'difference to a parent'],
    ['VDI with a parent', vdi((image) => image.writeUInt32LE(4, 76)), 'difference to another one'],
    ['VDI cut off', vdi((image) => image.writeUInt32LE(9, 388)), 'was cut off: 2097152 of 10485760'],
    ['differencing VHD', Buffer.concat([footer(4, MIB), Buffer.alloc(4096)]), 'difference to a parent'],
    ['VHD cut off', Buffer.concat([footer(3, MIB), Buffer.alloc(4096)]), 'its footer is missing'],
    [
      'VHD with a wrong checksum',
      Buffer.concat([footer(3, MIB).fill(1, 80, 90), Buffer.alloc(4096)]),
      'checksum of its footer',
    ],
  ])('%s', async (_name, image, reason) => {
    await expect(of(image)).rejects.toMatchObject({
      code: 'ImageUnusable',
      retry: false,
      message: expect.stringContaining(reason),
    });
  });

  test.each([
    ['qcow2', qcow2((header) => header.writeBigUInt64BE(1n << 62n, 24))],
    [
      'VMDK',
      vmdk(DESCRIPTOR.replace('20480', '204800000'), (image) => image.writeBigUInt64LE(204800000n, 12)),
    ],
  ])('a larger disk than may be: %s, by its header alone', async (_name, image) => {
    await expect(of(image, false)).rejects.toMatchObject({ code: 'ImageTooLarge' });
  });
});

test.each([
  ['gz', [0x1f, 0x8b, 8, 0]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
  ['zst', [0x28, 0xb5, 0x2f, 0xfd, 4]],
  ['zst', [0x53, 0x2a, 0x4d, 0x18, 4]],
  ['bz2', [...Buffer.from('BZh91AY&SY')]],
  [undefined, [...Buffer.from('BZhello, no bzip2')]],
  [undefined, []],
])('compression is told by magic: %s', (wrapper, bytes) => {
  expect(wrapperOf(Buffer.from(bytes))).toBe(wrapper);
});
