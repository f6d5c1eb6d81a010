import type { ImageMetadata } from '../../crds/mover.ts';

/** Where bytes come from. What goes wrong on the way and may be cured by trying again is cured in here. */
export interface Source {
  /** For the image's metadata. */
  readonly about: Pick<ImageMetadata['source'], 'type' | 'url' | 'etag' | 'lastModified'>;
  /** How often reading may begin again before the source is given up. */
  readonly mostRestarts: number;
  /** Bytes in all, once they are known. */
  readonly total: number | undefined;
  /**
   * Tells one content of the source from another, once something was read; undefined where nothing does.
   * Bytes of one version can be added to bytes of the same version only.
   */
  readonly version: string | undefined;
  /** The bytes are those of the disk itself: nothing in them is the header of an image. */
  readonly raw?: true;
  /**
   * The bytes from `from` on, to the end.
   *
   * @param version what the bytes before `from` are of
   * @throws BeginAgain when those are of something else
   */
  read(from: number, version?: string): AsyncGenerator<Buffer, void>;
}

/** What a source tells of itself while it is being read. */
export interface SourceWatch {
  /** It waits, for the reason given; undefined: not any more. */
  waiting(reason: string | undefined): void;
  reconnected(): void;
}
