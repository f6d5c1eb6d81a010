/** When a stopping VM is told what. The kubelet kills the whole pod at the end of the grace period. */

/** Milliseconds between two presses of the power button: a guest that is still booting misses the first. */
export const PRESS_INTERVAL = 3000;

/** Part of the grace period kept for ending QEMU and telling how it went. */
const MARGIN = 0.1;
const SHORTEST_MARGIN = 1000;
const LONGEST_MARGIN = 5000;

export interface StopTimes {
  /** When QEMU is told to quit, with its disks flushed. */
  quitAt: number;
  /** When QEMU is killed. */
  killAt: number;
}

/** @param requestedAt milliseconds since 1970; @param graceSeconds 0 and 1 leave the guest no time at all */
export function stopTimes(requestedAt: number, graceSeconds: number): StopTimes {
  const grace = graceSeconds * 1000;
  const margin = Math.min(LONGEST_MARGIN, Math.max(SHORTEST_MARGIN, grace * MARGIN));
  const quitAt = requestedAt + Math.max(0, grace - margin);
  return { quitAt, killAt: quitAt + margin / 2 };
}
