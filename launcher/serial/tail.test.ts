import { appendFileSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FileTail } from './tail.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmstead-tail-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('all bytes come once and in order, also after a long silence, and the file does not grow', async () => {
  const path = join(folder, 'serial.log');
  let seen = '';
  let place = 0;
  const tail = new FileTail({
    path,
    offset: 0,
    limit: 64 * 1024,
    onData(data, offset) {
      seen += data.toString();
      place = offset;
    },
  });
  let written = '';
  const write = (text: string) => {
    appendFileSync(path, text);
    written += text;
  };
  write('boot\n');
  await expect.poll(() => seen).toBe(written);
  // Long enough for the tail to wait until it is woken.
  await new Promise((resolve) => setTimeout(resolve, 600));
  for (let line = 0; line < 100; line++) write(`${line} ${'x'.repeat(5000)}\n`);
  await expect.poll(() => seen.length).toBe(written.length);
  expect(seen).toBe(written);
  expect(place).toBe(written.length);
  await expect.poll(() => statSync(path).blocks * 512, { timeout: 5000 }).toBeLessThan(200 * 1024);
  write('last');
  tail.end();
  expect(seen).toBe(written);
});

test('a new launcher goes on where the last one stopped', async () => {
  const path = join(folder, 'serial.log');
  appendFileSync(path, 'told before, not yet');
  let seen = '';
  const tail = new FileTail({
    path,
    offset: 'told before,'.length,
    limit: 1024,
    onData(data) {
      seen += data.toString();
    },
  });
  tail.end();
  expect(seen).toBe(' not yet');
});
