/** A disk that the kubelet mounted: in a claim, in an image volume, or a block device. */
import { constants, lstatSync, readdirSync, readFileSync, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import { IMAGE_FILE, IMAGE_METADATA_FILE, imageMetadata, type MoverSource } from '../../crds/mover.ts';
import { resolveInside } from '../../launcher/disks/inside.ts';
import { errno } from '../../launcher/errno.ts';
import { BeginAgain, unusable } from '../failure.ts';
import { deviceBytes } from '../target/device.ts';
import type { Source } from './source.ts';

type LocalJob = Extract<MoverSource, { type: 'image' | 'claim' | 'block' }>;

const CHUNK = 1024 * 1024;
/** Folder of an image that holds its disk, as KubeVirt's container disks have it. */
const IMAGE_FOLDER = '/disk';

export class LocalSource implements Source {
  readonly mostRestarts = 3;
  readonly about: { type: LocalJob['type'] };
  private readonly job: LocalJob;
  private size: number | undefined;
  private identity: string | undefined;

  constructor(job: LocalJob) {
    this.job = job;
    this.about = { type: job.type };
  }

  get total(): number | undefined {
    return this.size;
  }

  get version(): string | undefined {
    return this.identity;
  }

  async *read(from: number, version?: string): AsyncGenerator<Buffer, void> {
    const path = locate(this.job);
    // A link in a volume that others write to may point to any file of ours.
    const file = await openSource(path);
    try {
      const stats = await file.stat();
      this.size = await sizeOf(this.job, path, file, stats);
      this.identity = `${stats.ino}:${this.size}:${stats.mtimeMs}`;
      if (version !== undefined && version !== this.identity)
        throw new BeginAgain('the source has changed meanwhile');
      for (let at = from; at < this.size; ) {
        const { bytesRead, buffer } = await file.read({
          buffer: Buffer.allocUnsafe(Math.min(CHUNK, this.size - at)),
          position: at,
        });
        if (bytesRead === 0) throw unusable(`the source became shorter while it was read: it ends at ${at}`);
        yield buffer.subarray(0, bytesRead);
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  }
}

async function openSource(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    throw unusable(
      `user ${process.getuid?.()} cannot open the source ${path} (${errno(error)}); let group ${process.getgid?.()} read it`,
    );
  }
}

async function sizeOf(job: LocalJob, path: string, file: FileHandle, stats: Stats): Promise<number> {
  if (job.type !== 'block') {
    if (!stats.isFile()) throw unusable(`the source ${path} is not a regular file`);
    return stats.size;
  }
  if (!stats.isBlockDevice()) throw unusable(`the source ${path} is not a block device`);
  const device = await deviceBytes(file);
  if (job.bytes !== undefined && job.bytes > device)
    throw unusable(`the source ${path} has ${device} bytes, but its image should have ${job.bytes}`);
  return job.bytes ?? device;
}

function locate(job: LocalJob): string {
  if (job.type === 'block') return job.path;
  try {
    const path =
      job.path ?? (job.type === 'image' ? onlyFile(job.directory, IMAGE_FOLDER) : inClaim(job.directory));
    return resolveInside(job.directory, path);
  } catch (error) {
    if (error instanceof VmsteadError && error.code === 'DiskUnusable') throw unusable(error.message);
    throw error;
  }
}

/** The disk of a claim: what its own disk.json names, the file that VMs have, or the only one. */
function inClaim(directory: string): string {
  const names = readdirSync(directory);
  if (names.includes(IMAGE_METADATA_FILE)) {
    try {
      const text = readFileSync(resolveInside(directory, IMAGE_METADATA_FILE), 'utf8');
      return IMAGE_FILE[imageMetadata.parse(JSON.parse(text)).format];
    } catch {
      throw unusable(`the ${IMAGE_METADATA_FILE} of the source claim is damaged; name the path of the disk`);
    }
  }
  return names.includes(IMAGE_FILE.raw) ? IMAGE_FILE.raw : onlyFile(directory, '/');
}

function onlyFile(directory: string, folder: string): string {
  let names: string[] = [];
  try {
    const inside = resolveInside(directory, folder);
    names = readdirSync(inside).filter(
      (name) => !name.startsWith('.') && !lstatSync(join(inside, name)).isDirectory(),
    );
  } catch (error) {
    if (!(error instanceof VmsteadError) && errno(error) !== 'ENOTDIR') throw error;
  }
  if (names.length === 1) return join(folder, names[0]!);
  const found = names.length === 0 ? 'no file' : `${names.length} files`;
  throw unusable(`the source has ${found} in ${folder}; name the path of the disk`);
}
