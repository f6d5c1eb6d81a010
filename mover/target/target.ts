import type { FileHandle } from 'node:fs/promises';
import type { ImageMetadata } from '../../crds/mover.ts';

/** What an earlier attempt has left that can be added to. */
export interface Unfinished {
  bytes: number;
  /** Of the source, that they are from. */
  version: string;
}

/** Where an image is written to. */
export interface Target {
  /** For qemu-img: the image while it is unpublished. */
  readonly path: string;
  readonly device: boolean;
  /** Whether what was not written reads as zeros. */
  readonly blank: boolean;
  /** Longest image that it can hold, holes included. */
  readonly mostBytes: number;
  /** The image, when an earlier attempt has published it, or had only that left to do. */
  completed(): Promise<ImageMetadata | undefined>;
  unfinished(): Unfinished | undefined;
  /** For reading and writing, with the first `bytes` bytes kept and nothing behind them. */
  open(bytes: number): Promise<FileHandle>;
  /** The first bytes can be added to, even after a crash of the node. */
  keep(unfinished: Unfinished): void;
  /** Bytes of storage that are used. */
  used(file: FileHandle, bytes: number): Promise<number>;
  /** Makes the image appear, whole, and only when it is. */
  publish(metadata: ImageMetadata): Promise<void>;
  /** Takes away everything that is not a published image. */
  discard(): void;
}
