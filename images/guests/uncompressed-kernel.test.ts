import { zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { uncompressedKernel } from './uncompressed-kernel.ts';

function bzImage(payload: Buffer): Buffer {
  const header = Buffer.alloc(5 * 512);
  header.writeUInt8(4, 0x1f1);
  header.write('HdrS', 0x202, 'latin1');
  header.writeUInt32LE(64, 0x248);
  header.writeUInt32LE(payload.length + 4, 0x24c);
  return Buffer.concat([
    header,
    Buffer.alloc(64),
    payload,
    Buffer.alloc(4, 1),
    Buffer.from('checksums and signature'),
  ]);
}

test('takes the kernel out of what surrounds it', () => {
  const kernel = Buffer.from('\x7fELF and so on');
  expect(uncompressedKernel(bzImage(zstdCompressSync(kernel))).equals(kernel)).toBe(true);
});

test('says what is wrong with another file', () => {
  expect(() => uncompressedKernel(Buffer.alloc(4096))).toThrow('no bzImage');
  expect(() => uncompressedKernel(bzImage(Buffer.from('\x1f\x8b gzip')))).toThrow('not compressed with zstd');
});
