import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { judge, parseAcknowledgements, parseRing, readRing, SLOT_BYTES } from './sectors.ts';

const A = 'aaaaaaaa-aaaa-4aaa-aaaa-aaaaaaaaaaaa';
const B = 'bbbbbbbb-bbbb-4bbb-bbbb-bbbbbbbbbbbb';
const SLOTS = 8;

interface Write {
  boot: string;
  position: number;
  sequence: number;
  previous?: string;
}

/** The bytes that the guest's writer would have written. */
function slot({ boot, position, sequence, previous }: Write): Buffer {
  const bytes = Buffer.alloc(SLOT_BYTES);
  bytes.write('VMSTSEC1', 'latin1');
  bytes.writeUInt32LE(SLOTS, 8);
  Buffer.from(boot.replaceAll('-', ''), 'hex').copy(bytes, 16);
  if (previous !== undefined) Buffer.from(previous.replaceAll('-', ''), 'hex').copy(bytes, 32);
  bytes.writeBigUInt64LE(BigInt(position), 48);
  bytes.writeBigUInt64LE(BigInt(sequence), 56);
  bytes.writeBigUInt64LE(BigInt(position - sequence), 64);
  bytes.fill(position % 251, 96);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 88)), 88);
  bytes.writeUInt32LE(crc32(bytes.subarray(96)), 92);
  return bytes;
}

function disk(...writes: Write[]): Buffer {
  const bytes = Buffer.alloc(SLOTS * SLOT_BYTES);
  for (const write of writes) slot(write).copy(bytes, (write.position % SLOTS) * SLOT_BYTES);
  return bytes;
}

/** `count` writes of one boot from a position on. */
function boot(id: string, first: number, count: number, previous?: string): Write[] {
  return Array.from({ length: count }, (_, index) => ({
    boot: id,
    position: first + index,
    sequence: index,
    ...(previous !== undefined && { previous }),
  }));
}

const acknowledged = (id: string, sequence: number, position: number) => ({
  bootId: id,
  sequence: BigInt(sequence),
  position: BigInt(position),
});

describe('a good history', () => {
  test('one boot on a new disk', () => {
    expect(judge(parseRing(disk(...boot(A, 0, 5))), [acknowledged(A, 4, 4)])).toEqual([]);
  });

  test('a ring gone round more than once', () => {
    expect(
      judge(parseRing(disk(...boot(A, 0, 21))), [acknowledged(A, 2, 2), acknowledged(A, 20, 20)]),
    ).toEqual([]);
  });

  test('a second boot that found the first', () => {
    expect(judge(parseRing(disk(...boot(A, 0, 5), ...boot(B, 5, 4, A))))).toEqual([]);
  });

  test('a torn write where the machine died', () => {
    const bytes = disk(...boot(A, 0, 5));
    slot({ boot: A, position: 5, sequence: 5 }).copy(bytes, 5 * SLOT_BYTES, 0, 600);
    expect(judge(parseRing(bytes))).toEqual([]);
  });
});

describe('a bad history', () => {
  test('two writers: the slower one overwrites the faster one', () => {
    const ring = parseRing(disk(...boot(A, 0, 7), ...boot(B, 2, 3, A)));
    expect(judge(ring).join('\n')).toMatch(
      /Two boots interleave: write 5 of boot aaaa.* comes after write 2 of boot bbbb/,
    );
  });

  test('two guests that began at the same place', () => {
    const C = 'cccccccc-cccc-4ccc-cccc-cccccccccccc';
    const ring = parseRing(disk(...boot(A, 0, 2), ...boot(B, 2, 2, A), ...boot(C, 2, 4, A).slice(2)));
    expect(judge(ring).join('\n')).toMatch(
      /write 2 of boot cccc.* follows write 1 of boot bbbb.*two guests wrote at the same time/,
    );
  });

  test('a stale write that arrives after the next boot began', () => {
    const ring = parseRing(
      disk(...boot(A, 0, 3), ...boot(B, 3, 2, A), { boot: A, position: 3, sequence: 3 }),
    );
    expect(judge(ring)).not.toEqual([]);
  });

  test('an acknowledged write that is gone', () => {
    const ring = parseRing(disk(...boot(A, 0, 3)));
    expect(judge(ring, [acknowledged(A, 4, 4)])).toEqual([
      `The acknowledged write 4 of boot ${A} (position 4) is lost.`,
    ]);
  });

  test('an acknowledged write that the next boot did not see', () => {
    const ring = parseRing(disk(...boot(A, 0, 3), ...boot(B, 3, 3, A)));
    expect(judge(ring, [acknowledged(A, 4, 4)])[0]).toMatch(
      /position 4\) was overwritten by write 1 of boot bbbb/,
    );
  });

  test('a hole in the middle', () => {
    const ring = parseRing(disk(...boot(A, 0, 6).filter((write) => write.position !== 3)));
    expect(judge(ring)[0]).toMatch(/^Positions 3 to 3 are missing/);
  });

  test('an old disk brought back under a running history', () => {
    const writes = boot(A, 0, 14);
    expect(judge(parseRing(disk(...writes.slice(0, 10), ...writes.slice(12))))[0]).toMatch(
      /^Positions 10 to 11 are missing/,
    );
  });

  test('a damaged slot that was not in flight', () => {
    const bytes = disk(...boot(A, 0, 6));
    bytes[2 * SLOT_BYTES + 2000] = 1;
    expect(judge(parseRing(bytes))[0]).toMatch(/^Slot 2 is damaged/);
  });

  test('an empty disk', () => {
    expect(judge(parseRing(Buffer.alloc(SLOTS * SLOT_BYTES)))[0]).toMatch(/^The disk holds no record/);
    expect(judge(parseRing(Buffer.alloc(SLOTS * SLOT_BYTES)), [acknowledged(A, 1, 1)])[0]).toMatch(
      /^The disk is empty/,
    );
  });
});

test('a ring is read from a file, also when its first slot is torn', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sectors-'));
  try {
    const bytes = disk(...boot(A, 0, 7));
    bytes[1000] = 255;
    await writeFile(join(folder, 'disk.raw'), Buffer.concat([bytes, Buffer.alloc(1 << 21, 7)]));
    const ring = await readRing(join(folder, 'disk.raw'));
    expect(ring.slots).toBe(SLOTS);
    expect(ring.records.map((record) => record.position)).toEqual([1n, 2n, 3n, 4n, 5n, 6n]);
    expect(ring.damaged).toEqual([0]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('acknowledgements are read from a console log, half-written lines not', () => {
  const log = `guest# VMSTEAD-SECTOR boot_id=${A} acked=100 pos=3700\r\nVMSTEAD-SECTOR boot_id=${A} acked=131 pos=3731 final\r\nVMSTEAD-SECTOR boot_id=${A} acked=2`;
  expect(parseAcknowledgements(log)).toEqual([acknowledged(A, 100, 3700), acknowledged(A, 131, 3731)]);
});
