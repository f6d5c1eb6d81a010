/** A disk image that is written once, from the disk's beginning to its end. */

/** Where a writer puts its bytes. */
export interface Sink {
  write(at: number, data: Uint8Array): Promise<void>;
  /** Length of the whole: what was never written up to it is a hole. */
  setLength(bytes: number): Promise<void>;
}

/** How far a writer is, as JSON: another one goes on from it. */
export type WriterState = Record<string, unknown>;

export interface ImageWriter {
  /**
   * Data of the disk. Offsets are multiples of GRAIN and only grow; no piece crosses a multiple of WINDOW, and only
   * the last one may end within a grain (crds/export.ts).
   */
  write(offset: number, data: Buffer): Promise<void>;
  state(): WriterState;
  /** Before this the file is no image. */
  finish(): Promise<void>;
}

/** @param bytes of the whole disk: a multiple of 512 */
export type WriterMaker = (sink: Sink, bytes: number, state: WriterState | undefined) => ImageWriter;

/** A table of 64-bit numbers as text. */
export const packed = (table: BigUint64Array): string =>
  Buffer.from(table.buffer, table.byteOffset, table.byteLength).toString('base64');

export function unpacked(text: string): BigUint64Array<ArrayBuffer> {
  const bytes = Buffer.from(text, 'base64');
  const table = new BigUint64Array(bytes.length / 8);
  Buffer.from(table.buffer).set(bytes);
  return table;
}
