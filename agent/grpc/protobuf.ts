/**
 * The little of protocol buffers that the device plugin API needs: strings, booleans, nested messages and maps of
 * strings. Source: https://protobuf.dev/programming-guides/encoding/
 */

/** Wire types: 0 is a varint, 2 a length and that many bytes. */
const VARINT = 0;
const BYTES = 2;

/**
 * A message or a part of it, one character a byte: a list of a thousand devices in small Buffers would leave
 * 15 MiB behind that an idle process never collects.
 */
export type Encoded = string;

function varint(value: number): Encoded {
  let text = '';
  let rest = value;
  while (rest > 0x7f) {
    text += String.fromCharCode((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  return text + String.fromCharCode(rest);
}

/** Fields one after another make a message. */
export function message(...fields: Encoded[]): Encoded {
  return fields.join('');
}

/** A nested message. */
export function messageField(field: number, value: Encoded): Encoded {
  return varint(field * 8 + BYTES) + varint(value.length) + value;
}

/** A string; the empty one is the default and takes no room. */
export function stringField(field: number, value: string): Encoded {
  return value === '' ? '' : messageField(field, Buffer.from(value).toString('latin1'));
}

/** The bytes of a whole message. */
export function bytesOf(value: Encoded): Uint8Array {
  return Buffer.from(value, 'latin1');
}

export interface Field {
  number: number;
  value: number | Buffer;
}

/**
 * Splits a message into its fields, in their order.
 *
 * @throws RangeError when the message is cut short or has a wire type that this API never sends
 */
export function fields(data: Uint8Array): Field[] {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const found: Field[] = [];
  let at = 0;
  const readVarint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = buffer[at++];
      if (byte === undefined || factor > 2 ** 49)
        throw new RangeError('protocol buffer ends within a number');
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (at < buffer.length) {
    const tag = readVarint();
    const number = Math.floor(tag / 8);
    if (tag % 8 === VARINT) {
      found.push({ number, value: readVarint() });
    } else if (tag % 8 === BYTES) {
      const length = readVarint();
      if (at + length > buffer.length) throw new RangeError(`protocol buffer ends within field ${number}`);
      found.push({ number, value: buffer.subarray(at, at + length) });
      at += length;
    } else {
      throw new RangeError(`protocol buffer has wire type ${tag % 8} in field ${number}`);
    }
  }
  return found;
}
