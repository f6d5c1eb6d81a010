/** Reads a body, and gives up on one that stands still or is too slow. */
import type { Readable } from 'node:stream';
import { MoverFailure } from '../failure.ts';

interface PaceLimits {
  /** Milliseconds without a byte. */
  stallTimeout: number;
  /** Milliseconds of waiting in which at least so many bytes must come. */
  rateWindow: number;
  leastBytes: number;
}

/** Only the time in which we wait for the source counts: a slow disk of ours is not its fault. */
export class Pace {
  private readonly limits: PaceLimits;
  private waited = 0;
  private bytes = 0;

  constructor(limits: PaceLimits) {
    this.limits = limits;
  }

  /** @param keep leave the stream open when the reader stops early */
  async *chunks(stream: Readable, keep = false): AsyncGenerator<Buffer, void> {
    const { stallTimeout } = this.limits;
    const iterator = stream.iterator({ destroyOnReturn: !keep });
    // One timer for the whole stream: one for each chunk would cost more than the chunk.
    let asked = 0;
    const timer = setInterval(
      () => {
        if (asked > 0 && performance.now() - asked > stallTimeout)
          stream.destroy(new Error(`no byte for ${stallTimeout / 1000} s`));
      },
      Math.max(10, stallTimeout / 10),
    );
    try {
      for (;;) {
        asked = performance.now();
        const { done, value } = await iterator.next();
        this.count(performance.now() - asked, done ? 0 : (value as Buffer).length);
        asked = 0;
        if (done) return;
        yield value as Buffer;
      }
    } finally {
      clearInterval(timer);
      await iterator.return?.();
    }
  }

  private count(waited: number, bytes: number): void {
    const { rateWindow, leastBytes } = this.limits;
    this.waited += waited;
    this.bytes += bytes;
    if (this.waited < rateWindow) return;
    if (this.bytes < leastBytes) {
      throw new MoverFailure(
        'SourceLost',
        `the source is too slow: ${this.bytes} bytes in ${Math.round(this.waited / 1000)} s`,
        { retry: true },
      );
    }
    this.waited = 0;
    this.bytes = 0;
  }
}
