/** The image on a block device, from its first byte on. What is known of it is kept by the operator alone. */
import { closeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { VmsteadError } from '../../crds/errors.ts';
import { claimDevice } from '../../launcher/disks/storage.ts';
import { MoverFailure } from '../failure.ts';
import { deviceBytes } from './device.ts';
import type { Target } from './target.ts';

export class BlockTarget implements Target {
  readonly device = true;
  /** It may hold anything. */
  readonly blank = false;
  readonly path: string;
  readonly mostBytes: number;
  private readonly claim: number;

  private constructor(path: string, claim: number, bytes: number) {
    this.path = path;
    this.claim = claim;
    this.mostBytes = bytes;
  }

  static async open(path: string): Promise<BlockTarget> {
    try {
      const claim = claimDevice('target', path, { readOnly: false, exclusive: true });
      const file = await open(path, 'r');
      const bytes = await deviceBytes(file);
      await file.close();
      return new BlockTarget(path, claim, bytes);
    } catch (error) {
      if (!(error instanceof VmsteadError)) throw error;
      throw new MoverFailure('ClaimUnusable', error.message, {
        retry: error.code === 'DiskBusy',
        cause: error,
      });
    }
  }

  async completed(): Promise<undefined> {}

  unfinished(): undefined {}

  async open(): Promise<FileHandle> {
    return await open(this.path, 'r+');
  }

  keep(): void {}

  async used(_file: FileHandle, bytes: number): Promise<number> {
    return bytes;
  }

  async publish(): Promise<void> {
    closeSync(this.claim);
  }

  discard(): void {}
}
