/**
 * Cuts a byte stream into lines. The bytes of a character may come in two chunks, so decoding waits for the
 * end of the line.
 */
export class LineSplitter {
  private pending: Buffer[] = [];
  private length = 0;
  private skipping = false;
  private readonly limit: number;
  private readonly onLine: (line: string) => void;
  private readonly onTooLong: () => void;

  /** A line longer than `limit` bytes is dropped whole and told by `onTooLong`. */
  constructor(limit: number, onLine: (line: string) => void, onTooLong: () => void) {
    this.limit = limit;
    this.onLine = onLine;
    this.onTooLong = onTooLong;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      this.take(chunk.subarray(start, end));
      const line = this.skipping ? undefined : Buffer.concat(this.pending, this.length).toString('utf8');
      this.pending = [];
      this.length = 0;
      this.skipping = false;
      start = end + 1;
      if (line !== undefined) this.onLine(line);
    }
    this.take(chunk.subarray(start));
  }

  private take(part: Buffer): void {
    if (this.skipping || part.length === 0) return;
    if (this.length + part.length > this.limit) {
      this.pending = [];
      this.length = 0;
      this.skipping = true;
      this.onTooLong();
      return;
    }
    // A copy: the socket's buffer is not ours to keep.
    this.pending.push(Buffer.from(part));
    this.length += part.length;
  }
}
