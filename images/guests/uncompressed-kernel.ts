/**
 * Takes the kernel proper out of a bzImage. QEMU starts an uncompressed kernel by its PVH entry, which spares the guest
 * its own decompression: a quarter of the tiny guest's boot under emulation.
 * https://docs.kernel.org/arch/x86/boot.html (setup_sects, payload_offset, payload_length)
 */
import { zstdDecompressSync } from 'node:zlib';

const SECTOR = 512;
const HEADER_MAGIC = 0x202;
const SETUP_SECTORS = 0x1f1;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const ZSTD_MAGIC = 0xfd2fb528;

/**
 * Returns the ELF kernel of a bzImage.
 *
 * @throws Error when it is no bzImage, or not compressed with zstd
 */
export function uncompressedKernel(bzImage: Buffer): Buffer {
  if (bzImage.toString('latin1', HEADER_MAGIC, HEADER_MAGIC + 4) !== 'HdrS') {
    throw new Error('this kernel is no bzImage: it has no "HdrS" in its header');
  }
  const start = (bzImage.readUInt8(SETUP_SECTORS) + 1) * SECTOR + bzImage.readUInt32LE(PAYLOAD_OFFSET);
  // The last four bytes are the length of what comes out, not part of the compressed stream.
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(PAYLOAD_LENGTH) - 4);
  if (payload.length < 4 || payload.readUInt32LE(0) !== ZSTD_MAGIC) {
    throw new Error("this kernel is not compressed with zstd, as Debian's are since trixie");
  }
  return zstdDecompressSync(payload);
}
