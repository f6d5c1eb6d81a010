/** The file that an export is written to: `NAME.part` until it is whole, and `NAME.part.json` how far it is. */
import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import type { ExportBegin } from '../../crds/export.ts';
import type { FormatName } from './formats/formats.ts';
import { FORMATS } from './formats/formats.ts';
import type { ImageWriter, Sink, WriterState } from './formats/writer.ts';

/** Milliseconds between two places to go on from: each waits for the storage. */
const SAVE_EVERY = 2000;

/** What is exported: another answer is another export. */
export interface ExportIdentity {
  vm: string;
  snapshot: string | undefined;
  disk: string | undefined;
  format: FormatName;
}

interface Saved {
  version: 1;
  identity: string;
  begin: ExportBegin;
  /** All of the disk before this is in the file. */
  from: number;
  /** Length of what counts of the file. */
  length: number;
  writer: WriterState;
}

export class PartFile {
  /** Of the export that the file is of; undefined: none was begun. */
  begin: ExportBegin | undefined;
  /** Where on the disk it goes on. */
  from = 0;
  readonly path: string;
  private readonly output: string;
  private readonly identity: string;
  private readonly format: FormatName;
  private readonly file: FileHandle;
  private readonly saveEvery: number;
  private writer: ImageWriter | undefined;
  private saved: Saved | undefined;
  private savedAt = 0;
  private length = 0;

  private constructor(output: string, identity: ExportIdentity, file: FileHandle, saveEvery: number) {
    this.saveEvery = saveEvery;
    this.output = output;
    this.path = `${output}.part`;
    this.format = identity.format;
    this.identity = JSON.stringify([identity.vm, identity.snapshot, identity.disk, identity.format]);
    this.file = file;
  }

  /** Goes on with what a run before this one left, where that was the same export. */
  static async open(output: string, identity: ExportIdentity, saveEvery = SAVE_EVERY): Promise<PartFile> {
    const path = `${output}.part`;
    const saved = await readFile(`${path}.json`, 'utf8').then(
      (text) => JSON.parse(text) as Saved,
      () => undefined,
    );
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o666);
    const part = new PartFile(output, identity, file, saveEvery);
    const { size } = await file.stat();
    // A file that was deleted, or cut, is not the one that was saved.
    if (saved?.version === 1 && saved.identity === part.identity && size >= saved.length) {
      part.saved = saved;
      part.begin = saved.begin;
      await part.goBack();
    } else await part.forget();
    return part;
  }

  /** The stream that begins now is of this export, and goes on at `from`. */
  start(begin: ExportBegin): void {
    this.begin = begin;
    this.writer ??= FORMATS[this.format](this.sink(), begin.bytes, this.saved?.writer);
  }

  async write(offset: number, data: Buffer): Promise<void> {
    await this.writer!.write(offset, data);
  }

  /** Everything before `from` was received and is what was read. */
  async good(from: number): Promise<void> {
    if (Date.now() - this.savedAt < this.saveEvery) return;
    await this.file.datasync();
    this.saved = {
      version: 1,
      identity: this.identity,
      begin: this.begin!,
      from,
      length: this.length,
      writer: this.writer!.state(),
    };
    await writeFile(`${this.path}.json.next`, JSON.stringify(this.saved), { flush: true });
    await rename(`${this.path}.json.next`, `${this.path}.json`);
    this.savedAt = Date.now();
  }

  /** To the last place that is known to be good: what was written behind it was cut off on the way. */
  async goBack(): Promise<void> {
    this.writer = undefined;
    this.from = this.saved?.from ?? 0;
    this.length = this.saved?.length ?? 0;
    await this.file.truncate(this.length);
  }

  /** From the beginning, as another export. */
  async forget(): Promise<void> {
    this.saved = undefined;
    this.begin = undefined;
    await rm(`${this.path}.json`, { force: true });
    await this.goBack();
  }

  /** Makes the image whole and gives it its name. Returns the SHA-256 of the file. */
  async finish(): Promise<string> {
    await this.writer!.finish();
    await this.file.sync();
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(this.path, { highWaterMark: 1024 * 1024 })) {
      hash.update(chunk as Buffer);
    }
    await rename(this.path, this.output);
    await rm(`${this.path}.json`, { force: true });
    await this.close();
    return hash.digest('hex');
  }

  async close(): Promise<void> {
    await this.file.close().catch(() => {});
  }

  private sink(): Sink {
    return {
      write: async (at, data) => {
        for (let done = 0; done < data.length; ) {
          const { bytesWritten } = await this.file.write(data, done, data.length - done, at + done);
          done += bytesWritten;
        }
        this.length = Math.max(this.length, at + data.length);
      },
      setLength: async (bytes) => {
        await this.file.truncate(bytes);
        this.length = bytes;
      },
    };
  }
}
