/** Source: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt */
import { unusable } from '../failure.ts';
import type { Reader } from './reader.ts';

const INCOMPATIBLE = { corrupt: 1n << 1n, dataFile: 1n << 2n };
/** Dirty, corrupt, data file, compression type, extended L2 entries. */
const KNOWN = 0x1fn;

/** Virtual size. Throws ImageUnusable for what refers to other files, is encrypted, or says of itself that it is damaged. */
export async function inspectQcow2(reader: Reader): Promise<number> {
  const header = await reader.read(0, 72);
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3)
    throw unusable(`the image is a qcow2 image of version ${version}; 2 and 3 are known`);
  if (header.readBigUInt64BE(8) !== 0n) {
    throw unusable(
      'the image is a qcow2 image with a backing file, only the difference to another one; qemu-img convert -O qcow2 makes one whole image',
    );
  }
  if (header.readUInt32BE(32) !== 0)
    throw unusable('the image is an encrypted qcow2 image, and there is no key for it; decrypt it first');
  if (version === 3) {
    const features = (await reader.read(72, 32)).readBigUInt64BE(0);
    if ((features & INCOMPATIBLE.dataFile) !== 0n)
      throw unusable(
        'the image is a qcow2 image with an external data file; qemu-img convert -O qcow2 makes one whole image',
      );
    if ((features & INCOMPATIBLE.corrupt) !== 0n)
      throw unusable(
        'the image is a qcow2 image that is marked as corrupt; repair it: qemu-img check -r all',
      );
    if ((features & ~KNOWN) !== 0n)
      throw unusable(`the image is a qcow2 image with unknown features (0x${features.toString(16)})`);
  }
  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21)
    throw unusable('the image is a damaged qcow2 image: its cluster size is impossible');
  return Number(header.readBigUInt64BE(24));
}
