/** Standard output that never blocks the launcher: a reader that does not read loses lines, not the VM. */

/** Bytes that may wait for the reader. */
const MOST_WAITING = 1024 * 1024;

export function unblockedStdout(): (data: Uint8Array) => void {
  // Node makes pipes block. There is no public way to undo that.
  const { _handle: handle } = process.stdout as unknown as { _handle?: { setBlocking?(on: boolean): void } };
  handle?.setBlocking?.(false);
  process.stdout.on('error', () => {});
  return (data) => {
    if (process.stdout.writableLength < MOST_WAITING) process.stdout.write(Buffer.from(data));
  };
}
