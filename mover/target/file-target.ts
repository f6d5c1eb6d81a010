/** The image as a file in a filesystem claim. It exists when disk.json does, which is written last. */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { IMAGE_FILE, IMAGE_METADATA_FILE, type ImageMetadata, imageMetadata } from '../../crds/mover.ts';
import { publish } from '../../launcher/disks/blank.ts';
import { errno } from '../../launcher/errno.ts';
import { MoverFailure } from '../failure.ts';
import type { Target, Unfinished } from './target.ts';

const PART = 'disk.part';
const STATE = 'disk.part.json';
const STATE_NEW = 'disk.part.json.new';
const METADATA_NEW = '.vmstead-new';
const OURS = new Set([PART, STATE, STATE_NEW, METADATA_NEW, ...Object.values(IMAGE_FILE)]);
const IGNORED = new Set(['lost+found', IMAGE_METADATA_FILE, ...OURS]);
/** Times the size of its volume that a file with holes may be long. */
const MOST_HOLES = 4;
/** Images are read by launchers of the same group. */
const MODE = 0o660;

const partState = z.object({
  /** What the image is made of; a job of another key begins again. */
  key: z.string(),
  unfinished: z.object({ bytes: z.int().min(0), version: z.string() }).optional(),
  /** The image is whole and verified; only its names are left to be made. */
  verified: imageMetadata.optional(),
});
type PartState = z.infer<typeof partState>;

export class FileTarget implements Target {
  readonly device = false;
  readonly blank = true;
  /** A file may be longer than its volume, where it has holes; far longer than that, it is a bomb. */
  readonly mostBytes: number;
  private readonly directory: string;
  private readonly key: string;

  /** @param key tells one image from another, so that bytes of two are never mixed */
  constructor(directory: string, key: string) {
    this.directory = directory;
    this.key = key;
    const { blocks, bsize } = within(directory, () => statfsSync(directory));
    this.mostBytes = blocks * bsize * MOST_HOLES;
    const other = within(directory, () => readdirSync(directory)).filter((name) => !IGNORED.has(name));
    if (other.length > 0) {
      throw new MoverFailure(
        'ClaimUnusable',
        `the claim is not empty (${other.slice(0, 3).join(', ')}); an image is made in an empty claim only`,
      );
    }
  }

  get path(): string {
    return join(this.directory, PART);
  }

  async completed(): Promise<ImageMetadata | undefined> {
    const metadata = this.published();
    if (metadata !== undefined) {
      this.removeState();
      return metadata;
    }
    const { verified } = this.state() ?? {};
    if (verified === undefined) return undefined;
    if (!existsSync(this.path) && !existsSync(join(this.directory, IMAGE_FILE[verified.format])))
      return undefined;
    await this.publish(verified);
    return verified;
  }

  unfinished(): Unfinished | undefined {
    return existsSync(this.path) ? this.state()?.unfinished : undefined;
  }

  async open(bytes: number): Promise<FileHandle> {
    for (const name of [...Object.values(IMAGE_FILE), ...(bytes === 0 ? [PART, STATE] : [])])
      rmSync(join(this.directory, name), { force: true });
    try {
      const file = await open(this.path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, MODE);
      await file.truncate(bytes);
      return file;
    } catch (error) {
      throw notAllowed(this.directory, error);
    }
  }

  keep(unfinished: Unfinished): void {
    within(this.directory, () => this.write({ key: this.key, unfinished }));
  }

  async used(file: FileHandle): Promise<number> {
    return (await file.stat()).blocks * 512;
  }

  async publish(metadata: ImageMetadata): Promise<void> {
    const path = join(this.directory, IMAGE_FILE[metadata.format]);
    within(this.directory, () => {
      this.write({ key: this.key, verified: metadata });
      if (existsSync(this.path)) renameSync(this.path, path);
      if (statSync(path).size !== metadata.bytes)
        throw new MoverFailure('ClaimUnusable', `${path} has not the length that it was verified with`, {
          retry: true,
        });
      this.syncDirectory();
      publish(join(this.directory, METADATA_NEW), join(this.directory, IMAGE_METADATA_FILE), (file) =>
        writeSync(file, JSON.stringify(metadata)),
      );
    });
    this.removeState();
  }

  discard(): void {
    if (existsSync(join(this.directory, IMAGE_METADATA_FILE))) return;
    for (const name of OURS) rmSync(join(this.directory, name), { force: true });
  }

  private published(): ImageMetadata | undefined {
    const path = join(this.directory, IMAGE_METADATA_FILE);
    if (!existsSync(path)) return undefined;
    const parsed = imageMetadata.safeParse(parseJson(readFileSync(path, 'utf8')));
    const file = parsed.success ? join(this.directory, IMAGE_FILE[parsed.data.format]) : undefined;
    if (file === undefined || !existsSync(file) || statSync(file).size !== parsed.data!.bytes) {
      throw new MoverFailure(
        'ClaimUnusable',
        `the claim has a ${IMAGE_METADATA_FILE} that does not match what is beside it; delete the claim to make the image again`,
      );
    }
    return parsed.data;
  }

  private state(): PartState | undefined {
    const path = join(this.directory, STATE);
    if (!existsSync(path)) return undefined;
    const parsed = partState.safeParse(parseJson(readFileSync(path, 'utf8')));
    return parsed.success && parsed.data.key === this.key ? parsed.data : undefined;
  }

  private write(state: PartState): void {
    const fresh = join(this.directory, STATE_NEW);
    writeFileSync(fresh, JSON.stringify(state), { mode: MODE, flush: true });
    renameSync(fresh, join(this.directory, STATE));
  }

  private removeState(): void {
    for (const name of [STATE, STATE_NEW, METADATA_NEW, PART])
      rmSync(join(this.directory, name), { force: true });
  }

  private syncDirectory(): void {
    const directory = openSync(this.directory, 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  }
}

function within<T>(directory: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw notAllowed(directory, error);
  }
}

function notAllowed(directory: string, error: unknown): unknown {
  const code = errno(error);
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new MoverFailure('ClaimFull', `the claim has no room (${code}); give it more`, { cause: error });
  if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') return error;
  return new MoverFailure(
    'ClaimUnusable',
    `user ${process.getuid?.()} may not write to the claim at ${directory}; let group ${process.getgid?.()} write there (storage that skips fsGroup needs it done by hand)`,
    { cause: error },
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
