import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bytesOf, fields, message, messageField, stringField } from './protobuf.ts';

it('reads back what it writes', () => {
  const field = fc.tuple(fc.integer({ min: 1, max: 2000 }), fc.string({ minLength: 1, unit: 'grapheme' }));
  fc.assert(
    fc.property(fc.array(field), (list) => {
      const data = bytesOf(message(...list.map(([number, text]) => stringField(number, text))));
      expect(fields(data).map(({ number, value }) => [number, String(value)])).toEqual(list);
    }),
  );
});

it('writes bytes as the protocol buffers guide has them', () => {
  // https://protobuf.dev/programming-guides/encoding/#length-types: field 2 with "testing".
  expect(Buffer.from(bytesOf(stringField(2, 'testing'))).toString('hex')).toBe('120774657374696e67');
  expect([...bytesOf(messageField(1, 'x'.repeat(300))).subarray(0, 3)]).toEqual([0x0a, 0xac, 0x02]);
  expect(stringField(3, '')).toHaveLength(0);
});

it('reads numbers and refuses what is cut short or unknown', () => {
  expect(fields(Uint8Array.from([0x08, 0x96, 0x01]))).toEqual([{ number: 1, value: 150 }]);
  expect(() => fields(Uint8Array.from([0x0a, 0x05, 0x41]))).toThrow('ends within field 1');
  expect(() => fields(Uint8Array.from([0x08, 0x96]))).toThrow('ends within a number');
  expect(() => fields(Uint8Array.from([0x0d, 0, 0, 0, 0]))).toThrow('wire type 5');
});
