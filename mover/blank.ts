/** An empty disk. */
import type { ImageMetadata, MoverSource } from '../crds/mover.ts';
import { MoverFailure } from './failure.ts';
import type { Target } from './target/target.ts';
import { Writer } from './target/writer.ts';

type BlankJob = Extract<MoverSource, { type: 'blank' }>;

const CHUNK = Buffer.alloc(1024 * 1024);

export async function makeBlank({ bytes }: BlankJob, target: Target): Promise<ImageMetadata> {
  const done = await target.completed();
  if (done !== undefined) return done;
  if (bytes > target.mostBytes) {
    throw new MoverFailure(
      'ImageTooLarge',
      `a blank disk of ${bytes} bytes does not fit into its claim, which takes ${target.mostBytes} at most`,
    );
  }
  const file = await target.open(0);
  try {
    // What is on a device already has to be looked at; a file's hole is a hole.
    if (target.blank) await file.truncate(bytes);
    else await zero(file, bytes);
    await file.sync();
    const metadata: ImageMetadata = {
      version: 1,
      format: 'raw',
      bytes,
      actualBytes: await target.used(file, bytes),
      virtualBytes: Math.ceil(bytes / 512) * 512,
      source: { type: 'blank', bytes: 0 },
      completedAt: new Date().toISOString(),
    };
    await target.publish(metadata);
    return metadata;
  } finally {
    await file.close();
  }
}

async function zero(file: Awaited<ReturnType<Target['open']>>, bytes: number): Promise<void> {
  const writer = new Writer({ file, blank: false, algorithms: [], from: 0, mostBytes: bytes });
  try {
    for (let at = 0; at < bytes; at += CHUNK.length)
      await writer.write(CHUNK.subarray(0, Math.min(CHUNK.length, bytes - at)));
    await writer.finish();
  } finally {
    await writer.end();
  }
}
