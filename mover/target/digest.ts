/** Hashing in a thread of its own: it takes as much time as everything else together. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Checksum } from '../../crds/mover.ts';

export type Algorithm = Checksum['algorithm'];

/** Runs without the bundle's own file, so that it is here as text. */
const PROGRAM = `
const { createHash } = require('node:crypto');
const { parentPort, workerData: { algorithms, buffers } } = require('node:worker_threads');
const hashes = algorithms.map((algorithm) => createHash(algorithm));
const views = buffers.map((buffer) => new Uint8Array(buffer));
parentPort.on('message', (message) => {
  if (message.length === undefined) {
    parentPort.postMessage({ digests: hashes.map((hash) => hash.digest('hex')) });
    return;
  }
  const view = views[message.buffer].subarray(0, message.length);
  for (const hash of hashes) hash.update(view);
  parentPort.postMessage(message);
});
`;

/** Digests of the bytes that lie in shared buffers, in the order in which they are given. */
export class Digest {
  private readonly worker: Worker;
  private readonly algorithms: readonly Algorithm[];
  private readonly waiting: (() => void)[] = [];
  private failure: Error | undefined;

  constructor(algorithms: readonly Algorithm[], buffers: readonly SharedArrayBuffer[]) {
    this.algorithms = algorithms;
    this.worker = new Worker(PROGRAM, {
      eval: true,
      workerData: { algorithms, buffers },
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 },
    });
    this.worker.on('message', (message: { length?: number }) => {
      if (message.length !== undefined) this.waiting.shift()?.();
    });
    this.worker.on('error', (error) => {
      this.failure = error as Error;
      for (const resolve of this.waiting.splice(0)) resolve();
    });
  }

  /** Resolves when the first `length` bytes of that buffer have been taken in. */
  async update(buffer: number, length: number): Promise<void> {
    if (this.failure === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.waiting.push(resolve);
      this.worker.postMessage({ buffer, length });
      await promise;
    }
    if (this.failure !== undefined) throw this.failure;
  }

  /** Only when every update has resolved. */
  async finish(): Promise<Map<Algorithm, string>> {
    this.worker.postMessage({});
    const [{ digests }] = (await once(this.worker, 'message')) as [{ digests: string[] }];
    await this.end();
    return new Map(this.algorithms.map((algorithm, index) => [algorithm, digests[index]!]));
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }
}
