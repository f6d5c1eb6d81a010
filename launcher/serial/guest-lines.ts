/**
 * The guest's serial output among the launcher's own lines, as `kubectl logs` shows both. A line of the
 * launcher starts with `{`; a line of the guest never does: it gets a space in front.
 */
const NEWLINE = 10;
const BRACE = 123;
const NUL = 0;
const SPACE = 32;

/** Returns a function that takes the output piece by piece. NULs are dropped; all else is the reader's concern. */
export function guestLines(): (data: Buffer) => Buffer {
  let atStart = true;
  return (data) => {
    const out = Buffer.allocUnsafe(data.length * 2);
    let length = 0;
    for (const byte of data) {
      if (byte === NUL) continue;
      if (atStart && byte === BRACE) out[length++] = SPACE;
      out[length++] = byte;
      atStart = byte === NEWLINE;
    }
    return out.subarray(0, length);
  };
}
