/** gRPC's framing of messages in a stream. Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */

/** Longest message that is taken, in bytes: far above what a kubelet sends. */
const LIMIT = 4 * 1024 * 1024;

/** A message with its prefix: one byte for "not compressed", four for the length. */
export function frame(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Puts messages together from the chunks of a stream. */
export class FrameReader {
  #rest = Buffer.alloc(0);

  /** @throws RangeError for a compressed or an absurdly long message */
  push(chunk: Uint8Array): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const messages: Buffer[] = [];
    while (this.#rest.length >= 5) {
      const length = this.#rest.readUInt32BE(1);
      if (this.#rest[0] !== 0) throw new RangeError('compressed gRPC message');
      if (length > LIMIT) throw new RangeError(`gRPC message of ${length} bytes`);
      if (this.#rest.length < 5 + length) break;
      messages.push(this.#rest.subarray(5, 5 + length));
      this.#rest = this.#rest.subarray(5 + length);
    }
    return messages;
  }
}

/** The value of `grpc-message`: printable ASCII as it is, everything else percent-encoded. */
export function encodeMessage(text: string): string {
  return text.replaceAll(/[^\x20-\x24\x26-\x7e]+/gu, encodeURIComponent);
}

/** The reverse; what is not encoded rightly is taken as it is. */
export function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Status codes in use here. Source: https://grpc.io/docs/guides/status-codes/ */
export const STATUS = {
  ok: 0,
  invalidArgument: 3,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

/** A failed call: `code` is gRPC's. */
export class GrpcError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.name = 'GrpcError';
    this.code = code;
  }
}
