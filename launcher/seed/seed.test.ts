import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { iso9660 } from './iso9660.ts';
import { writeSeed } from './nocloud.ts';

/** Reads a folder as ECMA-119 says, with Rock Ridge names: the test's own reader. */
function files(image: Buffer): Map<string, Buffer> {
  const root = image.readUInt32LE(16 * 2048 + 156 + 2);
  const found = new Map<string, Buffer>();
  for (let at = root * 2048; image[at]! > 0; at += image[at]!) {
    const idLength = image[at + 32]!;
    for (
      let use = at + 33 + idLength + ((idLength + 1) % 2);
      use + 4 <= at + image[at]!;
      use += image[use + 2]!
    ) {
      if (image.toString('latin1', use, use + 2) !== 'NM') continue;
      const start = image.readUInt32LE(at + 2) * 2048;
      const name = image.toString('utf8', use + 5, use + image[use + 2]!);
      found.set(name, image.subarray(start, start + image.readUInt32LE(at + 10)));
    }
  }
  return found;
}

test('files come back as they were, an empty one and one of several sectors among them', () => {
  const long = Buffer.alloc(5000, 'x');
  const image = iso9660('cidata', [
    { name: 'empty', content: Buffer.alloc(0) },
    { name: 'user-data', content: long },
    { name: 'last', content: Buffer.from('ü') },
  ]);
  expect(image.toString('latin1', 16 * 2048 + 40, 16 * 2048 + 72).trim()).toBe('cidata');
  expect(image.length % 2048).toBe(0);
  expect([...files(image)]).toEqual([
    ['empty', Buffer.alloc(0)],
    ['user-data', long],
    ['last', Buffer.from('ü')],
  ]);
});

test('the seed holds what cloud-init looks for', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vmstead-seed-'));
  try {
    const secret = join(folder, 'userdata');
    writeFileSync(secret, '#cloud-config\n');
    const path = join(folder, 'seed.iso');
    writeSeed(path, { instanceId: 'i-1', hostname: 'web: "a"', userData: { file: secret } });
    const seed = files(readFileSync(path));
    expect([...seed.keys()]).toEqual(['meta-data', 'user-data']);
    expect(seed.get('meta-data')!.toString()).toBe('{"instance-id":"i-1","local-hostname":"web: \\"a\\""}\n');
    expect(seed.get('user-data')!.toString()).toBe('#cloud-config\n');
    expect(() =>
      writeSeed(path, { instanceId: 'i-1', hostname: 'web', userData: { file: `${secret}-no` } }),
    ).toThrow('look at the keys of the Secret');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
