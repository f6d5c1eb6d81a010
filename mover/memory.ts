/** Keeps the garbage of a stream small: V8 counts a buffer as a few bytes and lets tens of MiB of them pile up. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes of new buffers between two collections of the young ones; one takes less than a millisecond. */
const INTERVAL = 4 * 1024 * 1024;

export class YoungBuffers {
  private readonly collect: (options: { type: 'minor' }) => void;
  private bytes = 0;

  constructor() {
    setFlagsFromString('--expose-gc');
    this.collect = runInNewContext('gc') as typeof this.collect;
  }

  made(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes < INTERVAL) return;
    this.bytes = 0;
    this.collect({ type: 'minor' });
  }
}
