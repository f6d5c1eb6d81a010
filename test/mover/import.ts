/** One import into a fresh folder, in this process. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MoverJob, MoverResult, MoverSource } from '../../crds/mover.ts';
import { Progress } from '../../mover/progress.ts';
import { type RunOptions, run } from '../../mover/run.ts';
import { PATIENCE } from '../../mover/source/http.ts';

export const MIB = 1024 * 1024;

/** Gives up within a second. */
export const IMPATIENT = {
  ...PATIENCE,
  headTimeout: 2000,
  stallTimeout: 300,
  rateWindow: 400,
  leastBytes: 100_000,
  tries: 4,
  goodBytes: 1000,
  firstDelay: 5,
  longestDelay: 20,
};

export class Bench implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'vmstead-mover-'));
  readonly logged: string[] = [];
  progress = new Progress();

  job(source: MoverSource, changes: Partial<MoverJob> = {}): MoverJob {
    return {
      version: 1,
      image: { namespace: 'default', name: 'test', uid: 'uid-1' },
      attempt: 1,
      source,
      target: { type: 'file', directory: this.directory },
      maxVirtualBytes: 64 * MIB,
      ...changes,
    };
  }

  async run(job: MoverJob, changes: Partial<RunOptions> = {}): Promise<MoverResult> {
    this.progress = new Progress();
    return await run(job, {
      progress: this.progress,
      signal: new AbortController().signal,
      log: (message) => this.logged.push(message),
      patience: IMPATIENT,
      ...changes,
    });
  }

  /** Import from a URL, on loopback. */
  async fetch(url: string, more: Partial<Extract<MoverSource, { type: 'http' }>> = {}): Promise<MoverResult> {
    return await this.run(this.job({ type: 'http', url, allowPrivateAddresses: true, ...more }));
  }

  files(): string[] {
    return readdirSync(this.directory).sort();
  }

  read(name: string): Buffer {
    return readFileSync(join(this.directory, name));
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }
}

/** Bytes without a pattern, the same for the same seed. */
export function noise(length: number, seed = 1): Buffer {
  const buffer = Buffer.alloc(length);
  let state = seed * 2654435761 + 1;
  for (let at = 0; at + 4 <= length; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    buffer.writeUInt32LE(state, at);
  }
  return buffer;
}
