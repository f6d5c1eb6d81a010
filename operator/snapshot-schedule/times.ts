/** When a schedule is due. Pure. */
import { Cron } from 'croner';

export interface DueTimes {
  /** The last time since `since`, that itself excluded. */
  due: number | undefined;
  /** Times between the two. */
  missed: number;
  /** Absent: never again. */
  next: number | undefined;
}

/** More than this is not counted. */
const MOST_MISSED = 1000;

/** Milliseconds since the epoch. Throws with what is wrong with the pattern or the time zone. */
export function dueTimes(pattern: string, timeZone: string, since: number, now: number): DueTimes {
  const cron = new Cron(pattern, { timezone: timeZone, paused: true, mode: '5-part' });
  const next = cron.nextRun(new Date(now))?.getTime();
  // What is due at this very moment is due.
  const [last] = cron.previousRuns(1, new Date(now + 1));
  const due = last?.getTime();
  if (due === undefined || due <= since) return { due: undefined, missed: 0, next };
  let missed = -1;
  for (let at = cron.nextRun(new Date(since)); at !== null && at.getTime() <= due; at = cron.nextRun(at)) {
    if (++missed === MOST_MISSED) break;
  }
  return { due, missed: Math.max(0, missed), next };
}

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Milliseconds of a maxAge such as 7d. */
export function ageOf(text: string): number {
  return Number(text.slice(0, -1)) * (UNITS[text.at(-1) ?? ''] ?? 0);
}
