/** A job from its description to its result, whatever happens on the way. */
import { createHash } from 'node:crypto';
import { VmsteadError } from '../crds/errors.ts';
import { type Checksum, type MoverJob, type MoverResult, moverResult } from '../crds/mover.ts';
import { errno } from '../launcher/errno.ts';
import { makeBlank } from './blank.ts';
import { MoverFailure } from './failure.ts';
import { look } from './look.ts';
import { move } from './move.ts';
import type { Progress } from './progress.ts';
import type { Resolve } from './source/addresses.ts';
import { baseName, checksumFor } from './source/checksum-list.ts';
import { type HttpPatience, HttpSource } from './source/http.ts';
import { LocalSource } from './source/local.ts';
import { SnapshotSource } from './source/snapshot.ts';
import type { Source } from './source/source.ts';
import { UploadSource } from './source/upload.ts';
import { BlockTarget } from './target/block-target.ts';
import { FileTarget } from './target/file-target.ts';
import type { Target } from './target/target.ts';

const LONGEST_LIST = 4 * 1024 * 1024;

export interface RunOptions {
  progress: Progress;
  /** Aborted with a MoverFailure, which becomes the result. */
  signal: AbortSignal;
  log: (message: string) => void;
  patience?: HttpPatience;
  resolve?: Resolve;
  /** An upload can begin, at this port. */
  listening?: (port: number) => void;
}

/** Never rejects. */
export async function run(job: MoverJob, options: RunOptions): Promise<MoverResult> {
  const began = performance.now();
  let source: Source | undefined;
  let target: Target | undefined;
  let result: MoverResult;
  try {
    target = await openTarget(job);
    source = await openSource(job, options);
    const told = await carryOut(job, source, target, options);
    result = {
      result: 'Succeeded',
      ...told,
      seconds: Math.round(performance.now() - began) / 1000,
      at: new Date().toISOString(),
    };
  } catch (error) {
    result = failed(options.signal.aborted ? options.signal.reason : error);
    if (result.result === 'Failed' && !result.retry) target?.discard();
  }
  if (source instanceof UploadSource) await source.finish(result);
  return moverResult.parse(result);
}

async function carryOut(
  job: MoverJob,
  source: Source | undefined,
  target: Target | undefined,
  options: RunOptions,
) {
  if (job.source.type === 'blank' || source === undefined) {
    if (target === undefined || job.source.type !== 'blank')
      throw new MoverFailure('MoverFailed', 'a blank image needs a target');
    return { image: await makeBlank(job.source, target) };
  }
  options.progress.total = () => source.total;
  if (target === undefined) return { inspection: await look(job, source) };
  const checksum = await expectedChecksum(job, source);
  const { progress, signal, log } = options;
  return { image: await move({ job, source, target, progress, signal, log, ...(checksum && { checksum }) }) };
}

async function openTarget({ target, source, image }: MoverJob): Promise<Target | undefined> {
  if (target.type === 'none') return undefined;
  if (target.type === 'block') return await BlockTarget.open(target.path);
  const key = createHash('sha256')
    .update(JSON.stringify([image.uid, source]))
    .digest('hex');
  return new FileTarget(target.directory, key);
}

async function openSource({ source }: MoverJob, options: RunOptions): Promise<Source | undefined> {
  const { progress: watch, signal, patience, resolve, listening } = options;
  switch (source.type) {
    case 'blank':
      return undefined;
    case 'upload': {
      const upload = new UploadSource(watch, signal);
      const port = await upload.listen(source);
      listening?.(port);
      return upload;
    }
    case 'http':
      return new HttpSource(source, {
        watch,
        signal,
        ...(patience && { patience }),
        ...(resolve && { resolve }),
      });
    case 'snapshot':
      return new SnapshotSource(source, patience?.firstDelay);
    default:
      return new LocalSource(source);
  }
}

async function expectedChecksum({ source: job }: MoverJob, source: Source): Promise<Checksum | undefined> {
  if (job.type !== 'http' && job.type !== 'upload') return undefined;
  const { checksum } = job;
  if (checksum === undefined || 'digest' in checksum) return checksum;
  if (job.type !== 'http' || !(source instanceof HttpSource)) return undefined;
  const list = await source.document(checksum.url, LONGEST_LIST).catch((error: unknown) => {
    if (error instanceof MoverFailure) throw error;
    throw new MoverFailure('SourceLost', `the list of checksums was lost: ${(error as Error).message}`, {
      retry: true,
      cause: error,
    });
  });
  return checksumFor(list, decodeURIComponent(baseName(new URL(job.url).pathname)));
}

function failed(error: unknown): MoverResult {
  const { code, retry } = kindOfFailure(error);
  const message = error instanceof Error ? error.message : String(error);
  const printable = message.replaceAll(/[^\x20-\x7e\n]/g, '?');
  return { result: 'Failed', code, message: printable.slice(0, 1024), retry, at: new Date().toISOString() };
}

function kindOfFailure(error: unknown): { code: string; retry: boolean } {
  if (error instanceof MoverFailure) return error;
  const code = errno(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return { code: 'ClaimFull', retry: false };
  if (error instanceof VmsteadError) return { code: error.code, retry: false };
  return { code: 'MoverFailed', retry: true };
}
