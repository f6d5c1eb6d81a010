import { expect, it } from 'vitest';
import { splitAtLeave } from './keys.ts';

const split = (text: string) => {
  const { send, leave } = splitAtLeave(Buffer.from(text));
  return [Buffer.from(send).toString(), leave];
};

it('passes everything on but Ctrl-]', () => {
  expect(split('ls\r')).toEqual(['ls\r', false]);
  expect(split('\u0003\u001b[A\u001b')).toEqual(['\u0003\u001b[A\u001b', false]);
  expect(split('\u001d')).toEqual(['', true]);
  expect(split('ab\u001dcd')).toEqual(['ab', true]);
});
