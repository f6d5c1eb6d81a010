/** A line longer than the limit. */
class LineTooLongError extends Error {
  override readonly name = 'LineTooLongError';
  constructor(limit: number) {
    super(`a line is longer than ${limit} bytes`);
  }
}

/** Cuts a stream of bytes into lines of at most `limit` bytes, whatever pieces it arrives in. */
export class LineReader {
  readonly #limit: number;
  #pieces: Buffer[] = [];
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Lines that this piece completes, without their ends; throws {@link LineTooLongError}. */
  *push(piece: Buffer): Generator<string> {
    let start = 0;
    for (let end = piece.indexOf(0x0a); end >= 0; end = piece.indexOf(0x0a, start)) {
      this.#take(piece.subarray(start, end));
      start = end + 1;
      const line = Buffer.concat(this.#pieces, this.#length).toString('utf8');
      this.#pieces = [];
      this.#length = 0;
      yield line;
    }
    if (start < piece.length) this.#take(piece.subarray(start));
  }

  #take(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#length > this.#limit) throw new LineTooLongError(this.#limit);
    this.#pieces.push(piece);
  }
}
