import type { FileHandle } from 'node:fs/promises';

/** Above the largest device of Linux that has an offset. */
const BEYOND = 2 ** 53 - 1;

/**
 * Bytes of a block device. Its inode has no size, and Node has neither the ioctl nor SEEK_END: the last byte that
 * can be read is searched for.
 */
export async function deviceBytes(file: FileHandle): Promise<number> {
  const byte = Buffer.alloc(1);
  const exists = async (at: number) => {
    try {
      return (await file.read(byte, 0, 1, at)).bytesRead === 1;
    } catch {
      return false;
    }
  };
  // Every byte below `low` exists, none from `high` on.
  let low = 0;
  let high = BEYOND;
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    if (await exists(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
