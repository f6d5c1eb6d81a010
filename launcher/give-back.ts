/**
 * Gives back to the node what only the start took: garbage that V8 would not collect before it needs the room,
 * which for a launcher is never, and the bytecode of what ran once. docs/decisions/0008-launcher-memory.md.
 *
 * Flags are set as late as can be: Node's own code is cached for the flags it was built with, and what is loaded
 * after another one was set is compiled anew.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Milliseconds: what the launcher does at a start, or when the guest is up, is done by then. */
const AFTER = 30_000;
/** The first flushes what was not used since the one before it, the last ones free and compact. Some 10 ms each. */
const ROUNDS = 4;

type Collect = (options: { type: 'major'; flavor: 'last-resort' }) => void;

/**
 * Regular expressions stay bytecode. V8 makes machine code of those that run a second time, and Node's own one for
 * IPv6 addresses, which every connection runs, has 160 KiB of it; nothing that a launcher does often is one.
 */
export function keepPatternsSmall(): void {
  setFlagsFromString('--regexp-interpret-all');
}

let timer: NodeJS.Timeout | undefined;

/** A second call puts the first one off. */
export function giveBackLater(): void {
  clearTimeout(timer);
  timer = setTimeout(giveBack, AFTER).unref();
}

function giveBack(): void {
  for (const flag of ['--optimize-for-size', '--bytecode-old-age=1', '--expose-gc']) setFlagsFromString(flag);
  const collect = runInNewContext('gc') as Collect;
  for (let round = 0; round < ROUNDS; round++) collect({ type: 'major', flavor: 'last-resort' });
}
