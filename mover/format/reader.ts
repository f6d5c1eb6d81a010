/** Random access to an image that is being looked at. */
import type { FileHandle } from 'node:fs/promises';

export interface Reader {
  /** Length of the image; undefined while only its beginning is there. */
  readonly length: number | undefined;
  /** Exactly that part. Throws TooEarly or TooShort. */
  read(offset: number, length: number): Promise<Buffer>;
}

/** What is asked for has not come yet. */
export class TooEarly extends Error {}

/** The image ends before. */
export class TooShort extends Error {}

export class HeadReader implements Reader {
  readonly length: number | undefined;
  private readonly head: Buffer;

  /** @param complete the image is no longer than this */
  constructor(head: Buffer, complete: boolean) {
    this.head = head;
    this.length = complete ? head.length : undefined;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (offset >= 0 && offset + length <= this.head.length)
      return this.head.subarray(offset, offset + length);
    throw this.length === undefined ? new TooEarly() : new TooShort();
  }
}

export class FileReader implements Reader {
  readonly length: number;
  private readonly file: FileHandle;

  constructor(file: FileHandle, length: number) {
    this.file = file;
    this.length = length;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (offset < 0 || offset + length > this.length) throw new TooShort();
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await this.file.read(buffer, 0, length, offset);
    if (bytesRead < length) throw new TooShort();
    return buffer;
  }
}
