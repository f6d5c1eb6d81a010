/** The person's terminal while a guest has it. */

/**
 * Undoes what a guest's program may have left switched on: alternate character set, scroll region, mouse
 * reports, bracketed paste, application keys, hidden cursor, colours. None of it moves the cursor.
 */
const RESET = [
  '\u000f\u001b(B',
  '\u001b7\u001b[r\u001b8',
  '\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1006l\u001b[?2004l\u001b[?1004l',
  '\u001b[?1l\u001b>',
  '\u001b[?7h\u001b[?25h\u001b[m',
].join('');

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Puts the terminal into raw mode. It is given back on disposal, and also when the process ends otherwise:
 * by a signal (SIGKILL excepted), an error or `process.exit`.
 *
 * @param onSignal what a signal does instead of ending the process
 */
export function takeTerminal(onSignal?: () => void): Disposable {
  const { stdin, stdout } = process;
  let taken = stdin.isTTY === true;
  const giveBack = (): void => {
    if (!taken) return;
    taken = false;
    stdin.setRawMode(false);
    if (stdout.isTTY) stdout.write(RESET);
  };
  const take = (signal: keyof typeof SIGNALS) => {
    if (onSignal !== undefined) {
      onSignal();
      return;
    }
    giveBack();
    process.exit(128 + SIGNALS[signal]);
  };
  const names = Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];
  if (taken) stdin.setRawMode(true);
  process.once('exit', giveBack);
  for (const name of names) process.on(name, take);
  return {
    [Symbol.dispose]() {
      giveBack();
      process.off('exit', giveBack);
      for (const name of names) process.off(name, take);
    },
  };
}
