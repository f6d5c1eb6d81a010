import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds between two looks. */
const INTERVAL = 150;

export interface PollOptions {
  /** Milliseconds until it is given up; a machine that is busy with something else is no failure. */
  timeout?: number;
  /** More for the message of a failure: what the world looked like. */
  describe?: () => Promise<string>;
}

/**
 * Asks until the answer is neither undefined nor false. An exception counts as "not yet" and is told if it
 * was the last thing that happened.
 */
export async function poll<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  { timeout = 120_000, describe }: PollOptions = {},
): Promise<T> {
  const end = Date.now() + timeout;
  let error: unknown;
  for (;;) {
    try {
      const answer = await ask();
      error = undefined;
      if (answer !== undefined && answer !== false) return answer;
    } catch (thrown) {
      error = thrown;
    }
    if (Date.now() > end) {
      const cause = error === undefined ? '' : `\nlast error: ${error}`;
      const world = describe
        ? `\n${await describe().catch((thrown) => `(no more is known: ${thrown})`)}`
        : '';
      throw new Error(`waited ${timeout / 1000} s in vain: ${what}${cause}${world}`);
    }
    await sleep(INTERVAL);
  }
}
