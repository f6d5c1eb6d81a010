import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { LineReader } from './line-reader.ts';

const read = (reader: LineReader, pieces: readonly Buffer[]) =>
  pieces.flatMap((piece) => [...reader.push(piece)]);

test('lines come out whole, however the bytes are cut', () => {
  const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '));
  void fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat(200)), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
      const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
      const pieces = places.slice(1).map((place, i) => bytes.subarray(places[i], place));
      expect(read(new LineReader(10_000), pieces)).toEqual(lines);
    }),
  );
});

test('a line of the limit passes, one byte more does not, finished or not', () => {
  expect(read(new LineReader(4), [Buffer.from('abcd\nefgh\n')])).toEqual(['abcd', 'efgh']);
  expect(() => read(new LineReader(4), [Buffer.from('abcde\n')])).toThrow('longer than 4 bytes');
  expect(() => read(new LineReader(4), [Buffer.from('abc'), Buffer.from('de')])).toThrow(
    'longer than 4 bytes',
  );
});
