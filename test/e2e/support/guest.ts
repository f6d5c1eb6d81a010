/** What the tiny guest says on its serial line (images/guests/tiny). */

export interface GuestUp {
  bootId: string;
  memoryMiB: number;
  cpus: number;
}

/** Every boot that a log tells of, in order. */
export function boots(log: string): GuestUp[] {
  const line = /VMSTEAD-GUEST-UP boot_id=(\S+) uptime=\S+ cpus=(\d+) memory_mib=(\d+)/g;
  return [...log.matchAll(line)].map(([, bootId = '', cpus, memory]) => ({
    bootId,
    cpus: Number(cpus),
    memoryMiB: Number(memory),
  }));
}

/** Reasons that guests gave for their end, in order. */
export const downs = (log: string): string[] =>
  [...log.matchAll(/VMSTEAD-GUEST-DOWN boot_id=\S+ reason=(\S+)/g)].map(([, reason = '']) => reason);

/** Sequence number of the last heartbeat; -1 before the first. */
export const lastHeartbeat = (log: string): number =>
  Number([...log.matchAll(/VMSTEAD-HEARTBEAT boot_id=\S+ seq=(\d+)/g)].at(-1)?.[1] ?? -1);

/**
 * Sequence of the last write that the disk acknowledged to the guest's latest boot; -1 before its first. What an
 * earlier boot wrote does not count: a test that waits for "writes again" must see the second one write.
 */
export function lastAcknowledged(log: string): number {
  const latest = boots(log).at(-1)?.bootId;
  const all = [...log.matchAll(/VMSTEAD-SECTOR boot_id=(\S+) acked=(\d+)/g)];
  return Number(all.findLast(([, bootId]) => bootId === latest)?.[2] ?? -1);
}
