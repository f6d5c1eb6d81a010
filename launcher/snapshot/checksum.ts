/** Checksums of files that do not change any more, read through without haste. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const CHUNK = 1024 * 1024;
/** Of the time, the part that reading may take in the background: the guest's own reads come first. */
const SHARE = 0.5;

export interface Checksum {
  sha256: string;
  bytes: number;
}

/**
 * @param path a file that nobody writes to
 * @param haste read without pauses
 * @param going asked between two chunks; false ends it
 * @returns undefined where it was ended
 */
export async function checksumOf(
  path: string,
  haste: boolean,
  going: () => boolean = () => true,
): Promise<Checksum | undefined> {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(CHUNK);
  let bytes = 0;
  await using file = await open(path, 'r');
  for (;;) {
    if (!going()) return undefined;
    const began = performance.now();
    const { bytesRead } = await file.read(chunk, 0, CHUNK, bytes);
    if (bytesRead === 0) return { sha256: hash.digest('hex'), bytes };
    hash.update(chunk.subarray(0, bytesRead));
    bytes += bytesRead;
    if (!haste) await sleep(((performance.now() - began) * (1 - SHARE)) / SHARE, undefined, { ref: false });
  }
}
