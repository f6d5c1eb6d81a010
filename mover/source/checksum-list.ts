/** Lists of checksums as projects publish them beside their images. */
import { type Checksum, checksum } from '../../crds/mover.ts';
import { MoverFailure } from '../failure.ts';

const ALGORITHM: Readonly<Record<number, Checksum['algorithm']>> = { 64: 'sha256', 128: 'sha512' };

/**
 * The checksum of one file in such a list: lines of sha256sum (`DIGEST  NAME`, `DIGEST *NAME`), of BSD
 * (`SHA256 (NAME) = DIGEST`), or nothing but a digest. Throws ChecksumMismatch when it is not there, or twice.
 */
export function checksumFor(list: string, file: string): Checksum {
  const lines = list.split(/\r?\n/).map((line) => line.trim());
  const found = new Set(lines.flatMap((line) => digestOn(line, file) ?? []));
  if (found.size === 0) {
    const bare = lines.filter((line) => line !== '');
    if (bare.length === 1 && /^[0-9a-f]+$/i.test(bare[0]!)) found.add(bare[0]!.toLowerCase());
  }
  // A list may have both sums of one file.
  const usable = [...found].flatMap((digest) => {
    const algorithm = ALGORITHM[digest.length];
    return algorithm === undefined ? [] : [checksum.parse({ algorithm, digest })];
  });
  const strongest = usable.filter(({ algorithm }) => algorithm === 'sha512');
  const [chosen, ...others] = strongest.length > 0 ? strongest : usable;
  if (chosen !== undefined && others.length === 0) return chosen;
  throw new MoverFailure(
    'ChecksumMismatch',
    chosen === undefined
      ? `the list of checksums has no SHA-256 or SHA-512 of ${file}`
      : `the list of checksums has several of ${file}`,
  );
}

function digestOn(line: string, file: string): string | undefined {
  const plain = /^([0-9a-f]{32,128})\s+\*?(.+)$/i.exec(line);
  if (plain !== null) return baseName(plain[2]!) === file ? plain[1]!.toLowerCase() : undefined;
  const bsd = /^SHA(?:256|512) \((.+)\) = ([0-9a-f]+)$/i.exec(line);
  return bsd !== null && baseName(bsd[1]!) === file ? bsd[2]!.toLowerCase() : undefined;
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
