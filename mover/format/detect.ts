/** What a file is, by its first bytes: never by its name, nor by what a server says. */
import { unusable } from '../failure.ts';

export const WRAPPERS = ['gz', 'xz', 'zst', 'bz2'] as const;
export type Wrapper = (typeof WRAPPERS)[number];

/** Enough for everything here; an ISO's mark is the last. */
export const DETECT_BYTES = 36 * 1024;

/** First bytes, as Latin-1. */
const WRAPPER_MAGIC: Readonly<Record<Wrapper, readonly string[]>> = {
  gz: ['\x1f\x8b\x08'],
  xz: ['\xfd7zXZ\x00'],
  zst: ['\x28\xb5\x2f\xfd'],
  bz2: ['BZh'],
};
/** A bzip2 block, or the end of an empty stream, follows "BZh" and a digit. */
const BZ2_NEXT = ['1AY&SY', '\x17\x72\x45\x38\x50\x90'];
/** A skippable frame, which may be first in zstd: one of sixteen first bytes, and these. */
const ZST_SKIPPABLE = '\x2a\x4d\x18';

export function wrapperOf(head: Buffer): Wrapper | undefined {
  const start = head.toString('latin1', 0, 16);
  if (head.length > 4 && head[0]! >> 4 === 5 && start.startsWith(ZST_SKIPPABLE, 1)) return 'zst';
  const found = WRAPPERS.find((wrapper) => WRAPPER_MAGIC[wrapper].some((magic) => start.startsWith(magic)));
  if (found === 'bz2' && !BZ2_NEXT.some((next) => start.startsWith(next, 4))) return undefined;
  return found;
}

export type Kind = 'qcow2' | 'vmdk' | 'vdi' | 'vpc' | 'vhdx' | 'raw';

const COMPRESS = 'use gz, xz, zst or bz2';
const CONVERT = 'convert it with qemu-img convert -O qcow2';
const UNPACK = 'unpack it, and take the disk in it';

/** What is no disk, or none that we take: first bytes, what it is, what to do. */
const REFUSED: readonly (readonly [magic: string | RegExp, what: string])[] = [
  ['LUKS\xba\xbe', 'encrypted with LUKS, and there is no key for it; decrypt it first'],
  ['PK\x03\x04', `a zip archive; ${UNPACK}`],
  ['PK\x05\x06', 'an empty zip archive'],
  ['7z\xbc\xaf\x27\x1c', `a 7z archive; ${UNPACK}`],
  ['Rar!\x1a\x07', `a rar archive; ${UNPACK}`],
  ['\x04\x22\x4d\x18', `compressed with lz4; ${COMPRESS}`],
  ['\x89LZO\x00', `compressed with lzop; ${COMPRESS}`],
  ['LZIP', `compressed with lzip; ${COMPRESS}`],
  ['\x5d\x00\x00\x80\x00', `compressed with lzma; ${COMPRESS}`],
  ['\x5d\x00\x00\x00\x04', `compressed with lzma; ${COMPRESS}`],
  ['\x1f\x9d', `compressed with compress; ${COMPRESS}`],
  ['QED\x00', `a QED image; ${CONVERT}`],
  ['WithoutFreeSpace', `a Parallels image; ${CONVERT}`],
  ['WithouFreSpacExt', `a Parallels image; ${CONVERT}`],
  ['Bochs Virtual HD Image', `a Bochs image; ${CONVERT}`],
  ['#!/bin/sh\n#V2.0 Format\n', `a cloop image; ${CONVERT}`],
  ['COWD', `an ESX extent (COWD); ${CONVERT}`],
  ['\xbe\xba\xfe\xca\x00\x00\x00\x00', `a VMDK extent (seSparse) without its descriptor; ${CONVERT}`],
  [/^# *Disk DescriptorFile/i, `the descriptor of a VMDK whose data are in other files; ${CONVERT}`],
  [/^\s*(<!doctype html|<html|<\?xml)/i, 'a web page or XML, no disk: the URL leads to something else'],
  [/^\s*[{[]\s*"/, 'JSON, no disk: the URL leads to something else'],
  [/^(!<arch>|%PDF-)/, 'a package or a document, no disk'],
  ['\x7fELF', 'a program, no disk'],
];

const TAR_MAGIC = { offset: 257, text: 'ustar' };

/**
 * The kind of image that begins so. A VHD of fixed size has its mark at the end only and counts as raw here.
 * Throws ImageUnusable for what is known to be something else.
 */
export function kindOf(head: Buffer): Kind {
  const start = head.toString('latin1', 0, 64);
  const refused = REFUSED.find(([magic]) =>
    typeof magic === 'string' ? start.startsWith(magic) : magic.test(start),
  );
  if (refused !== undefined) throw unusable(`the image is ${refused[1]}`);
  if (head.toString('latin1', TAR_MAGIC.offset, TAR_MAGIC.offset + 5) === TAR_MAGIC.text) {
    throw unusable('the image is a tar archive (an OVA is one); unpack it, and take the disk in it');
  }
  if (start.startsWith('QFI\xfb')) return 'qcow2';
  if (start.startsWith('KDMV')) return 'vmdk';
  if (start.startsWith('vhdxfile')) return 'vhdx';
  if (start.startsWith('conectix')) return 'vpc';
  if (head.length >= 68 && head.readUInt32LE(64) === 0xbeda107f) return 'vdi';
  return 'raw';
}

/** ECMA-119: the first volume descriptor, or a UDF one without it. */
export function isIso(head: Buffer): boolean {
  const mark = head.toString('latin1', 32769, 32774);
  return mark === 'CD001' || mark === 'BEA01';
}
