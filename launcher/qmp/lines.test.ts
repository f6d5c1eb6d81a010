import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LineSplitter } from './lines.ts';

function split(chunks: readonly Buffer[], limit = 1000): { lines: string[]; tooLong: number } {
  const result = { lines: [] as string[], tooLong: 0 };
  const splitter = new LineSplitter(
    limit,
    (line) => result.lines.push(line),
    () => result.tooLong++,
  );
  for (const chunk of chunks) splitter.push(chunk);
  return result;
}

test('lines are the same however the stream is cut', () => {
  const line = fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => text.replaceAll('\n', ''));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat(30)), (lines, cuts) => {
      let rest = Buffer.from(lines.map((each) => `${each}\n`).join(''));
      const chunks: Buffer[] = [];
      for (const cut of cuts) {
        chunks.push(rest.subarray(0, cut));
        rest = rest.subarray(cut);
      }
      expect(split([...chunks, rest]).lines).toEqual(lines.map((each) => Buffer.from(each).toString()));
    }),
  );
});

test('a line that is too long is dropped whole, the next one is kept', () => {
  expect(split([Buffer.from('12345'), Buffer.from('6\nnext\n')], 5)).toEqual({ lines: ['next'], tooLong: 1 });
});
