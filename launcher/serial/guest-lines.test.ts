import { expect, test } from 'vitest';
import { guestLines } from './guest-lines.ts';

test('a guest cannot write a line that looks like the launcher’s', () => {
  const take = guestLines();
  const pieces = ['boot\n', '{"level":50}\na{b}\n', 'x', '{\n\0', '\0{"level"'];
  expect(pieces.map((piece) => take(Buffer.from(piece)).toString()).join('')).toBe(
    'boot\n {"level":50}\na{b}\nx{\n {"level"',
  );
});
