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

/** Sequence of the last write that the disk acknowledged; -1 before the first. */
export const lastAcknowledged = (log: string): number =>
  Number([...log.matchAll(/VMSTEAD-SECTOR boot_id=\S+ acked=(\d+)/g)].at(-1)?.[1] ?? -1);
