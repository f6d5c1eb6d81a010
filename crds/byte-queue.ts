/** Bytes that come when they come, and are taken in pieces of a wanted length. */

/** Above the first the other end is to wait, below the second to go on. */
const HIGH = 16 * 1024 * 1024;
const LOW = 4 * 1024 * 1024;
/** Of what is taken as text. */
const LONGEST_LINE = 64 * 1024;

/** The bytes ended before what was to be taken. */
export class BrokenOffError extends Error {}

export class ByteQueue {
  private readonly chunks: Buffer[] = [];
  private length = 0;
  private ended: string | undefined;
  private wake: () => void = () => {};
  private paused = false;
  private readonly flow: { pause(): void; resume(): void };

  constructor(flow: { pause(): void; resume(): void }) {
    this.flow = flow;
  }

  push(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.length += chunk.length;
    if (!this.paused && this.length > HIGH) {
      this.paused = true;
      this.flow.pause();
    }
    this.wake();
  }

  /** No more will come; what is there can still be taken. */
  end(why: string): void {
    this.ended ??= why;
    this.wake();
  }

  /** @throws BrokenOffError */
  async take(length: number): Promise<Buffer> {
    while (this.length < length) await this.more();
    const taken: Buffer[] = [];
    for (let missing = length; missing > 0; ) {
      const chunk = this.chunks[0]!;
      const part = chunk.subarray(0, missing);
      taken.push(part);
      missing -= part.length;
      if (part.length === chunk.length) this.chunks.shift();
      else this.chunks[0] = chunk.subarray(part.length);
    }
    this.length -= length;
    if (this.paused && this.length < LOW) {
      this.paused = false;
      this.flow.resume();
    }
    return taken.length === 1 ? taken[0]! : Buffer.concat(taken, length);
  }

  /** Up to the next line feed, without it. @throws BrokenOffError */
  async line(): Promise<string> {
    for (;;) {
      const all = Buffer.concat(this.chunks);
      const end = all.indexOf(10);
      if (end >= 0) return (await this.take(end + 1)).toString('utf8', 0, end);
      if (all.length > LONGEST_LINE) throw new BrokenOffError('what came is no export');
      await this.more();
    }
  }

  private async more(): Promise<void> {
    if (this.ended !== undefined) throw new BrokenOffError(this.ended);
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
  }
}
