/**
 * Judges what the tiny guest's sector writer (images/guests/tiny/sectors.c) left on a disk.
 *
 * The guest writes a record every 10 ms into a ring of 4 KiB slots, each one acknowledged by the disk before the next.
 * Two writers at once, a lost acknowledged write, or a stale write that arrives late then show in the ring itself:
 * no part of Vmstead is asked for its opinion.
 */
import { open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

/** Bytes a record fills; also the alignment of its writes. */
export const SLOT_BYTES = 4096;
const HEADER_CRC_OFFSET = 88;
const BODY_CRC_OFFSET = 92;
const BODY_OFFSET = 96;
const MAGIC = 'VMSTSEC1';
const NO_BOOT = '00000000-0000-0000-0000-000000000000';

/** One write of a guest. */
export interface SectorRecord {
  /** The boot that wrote it, as in `/proc/sys/kernel/random/boot_id`. */
  bootId: string;
  /** The boot whose records it found when it began; undefined on an empty disk. */
  previousBootId: string | undefined;
  /** Its place in the disk's whole history, over all boots. */
  position: bigint;
  /** Its place among its own boot's writes, from 0. */
  sequence: bigint;
  /** The position of its boot's first write. */
  firstPosition: bigint;
  /** The guest's wall clock, nanoseconds since 1970. */
  wallNanoseconds: bigint;
}

/** What a disk holds. */
export interface SectorRing {
  /** Slots of the ring; 0 when no record was found. */
  slots: number;
  /** Whole records, by position. */
  records: SectorRecord[];
  /** Slots that hold a torn or damaged record. */
  damaged: number[];
}

/** A guest's word that a write was done: a `VMSTEAD-SECTOR` line of its console. */
export interface Acknowledgement {
  bootId: string;
  sequence: bigint;
  position: bigint;
}

/**
 * Reads the ring from a raw image, a block device or a file system's file (`qemu-img convert -O raw` makes one of a qcow2).
 *
 * @throws Error of the file system when it cannot be read
 */
export async function readRing(path: string): Promise<SectorRing> {
  await using file = await open(path, 'r');
  const first = await readAt(file, 0, SLOT_BYTES);
  // A torn first slot must not hide the rest: any whole record tells the ring's length.
  let slots = declaredSlots(first);
  const chunk = 256 * SLOT_BYTES;
  const parts: Buffer[] = [];
  for (let offset = 0; slots === 0 || offset < slots * SLOT_BYTES; offset += chunk) {
    const part = await readAt(file, offset, chunk);
    for (let at = 0; slots === 0 && at + SLOT_BYTES <= part.length; at += SLOT_BYTES) {
      slots = declaredSlots(part.subarray(at, at + SLOT_BYTES));
    }
    parts.push(part);
    if (part.length < chunk) break;
  }
  return parseRing(Buffer.concat(parts));
}

async function readAt(
  file: {
    read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  },
  position: number,
  length: number,
): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function declaredSlots(slot: Buffer): number {
  return headerValid(slot) ? slot.readUInt32LE(8) : 0;
}

function headerValid(slot: Buffer): boolean {
  return (
    slot.length === SLOT_BYTES &&
    slot.toString('latin1', 0, 8) === MAGIC &&
    slot.readUInt32LE(HEADER_CRC_OFFSET) === crc32(slot.subarray(0, HEADER_CRC_OFFSET))
  );
}

/** Takes a disk's first bytes apart. Never-written slots are skipped. */
export function parseRing(disk: Buffer): SectorRing {
  const ring: SectorRing = { slots: 0, records: [], damaged: [] };
  const count = Math.floor(disk.length / SLOT_BYTES);
  for (let index = 0; index < count && ring.slots === 0; index++) {
    ring.slots = declaredSlots(disk.subarray(index * SLOT_BYTES, (index + 1) * SLOT_BYTES));
  }
  for (let index = 0; index < Math.min(count, ring.slots); index++) {
    const slot = disk.subarray(index * SLOT_BYTES, (index + 1) * SLOT_BYTES);
    const whole =
      headerValid(slot) && slot.readUInt32LE(BODY_CRC_OFFSET) === crc32(slot.subarray(BODY_OFFSET));
    if (whole && slot.readBigUInt64LE(48) % BigInt(ring.slots) === BigInt(index))
      ring.records.push(parseRecord(slot));
    else if (slot.some((byte) => byte !== 0)) ring.damaged.push(index);
  }
  ring.records.sort((a, b) => (a.position < b.position ? -1 : 1));
  return ring;
}

function parseRecord(slot: Buffer): SectorRecord {
  const previousBootId = formatBootId(slot.subarray(32, 48));
  return {
    bootId: formatBootId(slot.subarray(16, 32)),
    previousBootId: previousBootId === NO_BOOT ? undefined : previousBootId,
    position: slot.readBigUInt64LE(48),
    sequence: slot.readBigUInt64LE(56),
    firstPosition: slot.readBigUInt64LE(64),
    wallNanoseconds: slot.readBigUInt64LE(72),
  };
}

function formatBootId(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The acknowledgements in a guest's console log, in its order. */
export function parseAcknowledgements(log: string): Acknowledgement[] {
  const line = /VMSTEAD-SECTOR boot_id=([0-9a-f-]{36}) acked=(\d+) pos=(\d+)(?:\s|$)/g;
  return [...log.matchAll(line)].map(([, bootId = '', sequence = '', position = '']) => ({
    bootId,
    sequence: BigInt(sequence),
    position: BigInt(position),
  }));
}

/**
 * What is wrong with a disk's history, one sentence each; none when one guest at a time wrote to it and nothing
 * that was acknowledged is lost.
 */
export function judge(ring: SectorRing, acknowledgements: readonly Acknowledgement[] = []): string[] {
  const newest = ring.records.at(-1);
  if (newest === undefined) {
    return acknowledgements.length === 0
      ? ['The disk holds no record at all: the guest never wrote, or its disk was replaced.']
      : [`The disk is empty although ${acknowledgements.length} writes were reported as acknowledged.`];
  }
  return [
    ...judgeDamage(ring, newest),
    ...judgePlaces(ring, newest),
    ...judgeBoots(ring.records),
    ...judgeAcknowledgements(ring, newest, acknowledgements),
  ];
}

/** Only the write in flight when a machine died may be torn: the slot after the newest record. */
function judgeDamage(ring: SectorRing, newest: SectorRecord): string[] {
  const inFlight = Number((newest.position + 1n) % BigInt(ring.slots));
  return ring.damaged
    .filter((slot) => slot !== inFlight)
    .map(
      (slot) =>
        `Slot ${slot} is damaged, and it is not the one after the newest record (position ${newest.position}).`,
    );
}

/** The ring's window must be whole: each position once, none missing. */
function judgePlaces(ring: SectorRing, newest: SectorRecord): string[] {
  const problems: string[] = [];
  const window = BigInt(ring.slots) - 1n; // the slot after the newest may hold a torn write
  let expected = newest.position >= window ? newest.position - window + 1n : 0n;
  for (const record of ring.records) {
    if (record.position < expected) continue;
    if (record.position > expected) {
      problems.push(
        `Positions ${expected} to ${record.position - 1n} are missing before ${describe(record)}.`,
      );
    }
    expected = record.position + 1n;
  }
  return problems;
}

/** One boot after the other: a boot never comes back, begins where the one before ended, and names it. */
function judgeBoots(records: readonly SectorRecord[]): string[] {
  const problems: string[] = [];
  const ended = new Set<string>();
  for (const [index, record] of records.entries()) {
    if (record.position - record.firstPosition !== record.sequence) {
      problems.push(`${describe(record)} does not fit its boot's first position ${record.firstPosition}.`);
    }
    const before = records[index - 1];
    if (before === undefined) continue;
    if (before.bootId === record.bootId) {
      if (record.sequence !== before.sequence + 1n) {
        problems.push(`${describe(record)} does not follow ${describe(before)}: writes in between are lost.`);
      }
      continue;
    }
    ended.add(before.bootId);
    if (ended.has(record.bootId)) {
      problems.push(
        `Two boots interleave: ${describe(record)} comes after ${describe(before)}, which had replaced it.`,
      );
    } else if (record.sequence !== 0n || record.previousBootId !== before.bootId) {
      problems.push(
        `${describe(record)} follows ${describe(before)} without having found it when it began ` +
          `(it found boot ${record.previousBootId ?? 'none'}): two guests wrote at the same time.`,
      );
    }
  }
  return problems;
}

/** Every acknowledged write that the ring can still hold must be there, under its own boot. */
function judgeAcknowledgements(
  ring: SectorRing,
  newest: SectorRecord,
  acknowledgements: readonly Acknowledgement[],
): string[] {
  const byPosition = new Map(ring.records.map((record) => [record.position, record]));
  const problems: string[] = [];
  for (const acknowledged of acknowledgements) {
    if (acknowledged.position + BigInt(ring.slots) <= newest.position) continue; // overwritten in its turn
    const found = byPosition.get(acknowledged.position);
    const wanted = `acknowledged write ${acknowledged.sequence} of boot ${acknowledged.bootId} (position ${acknowledged.position})`;
    if (found === undefined) problems.push(`The ${wanted} is lost.`);
    else if (found.bootId !== acknowledged.bootId || found.sequence !== acknowledged.sequence) {
      problems.push(`The ${wanted} was overwritten by ${describe(found)}.`);
    }
  }
  return problems;
}

function describe(record: SectorRecord): string {
  return `write ${record.sequence} of boot ${record.bootId} (position ${record.position})`;
}
