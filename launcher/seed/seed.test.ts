import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MOST_BYTES, writeFilesImage } from './files.ts';
import { iso9660, LONGEST_NAME } from './iso9660.ts';
import { writeSeed } from './nocloud.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmstead-seed-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Where the records of a folder are, as its descriptor tells: none goes over the end of a sector. */
function records(image: Buffer, descriptor: number): number[] {
  const [root, bytes] = [2, 10].map((at) => image.readUInt32LE(descriptor * 2048 + 156 + at)) as [
    number,
    number,
  ];
  expect(bytes % 2048).toBe(0);
  const found: number[] = [];
  for (let sector = root; sector < root + bytes / 2048; sector++) {
    for (let at = sector * 2048; at < (sector + 1) * 2048 && image[at]! > 0; at += image[at]!) found.push(at);
  }
  return found;
}

const contentOf = (image: Buffer, at: number): Buffer => {
  const start = image.readUInt32LE(at + 2) * 2048;
  return image.subarray(start, start + image.readUInt32LE(at + 10));
};

/** Reads the folder as Windows does, with Joliet's names. */
function jolietFiles(image: Buffer): Map<string, Buffer> {
  const list = records(image, 17).filter((at) => image[at + 25] === 0);
  return new Map(
    list.map((at) => {
      const name = Buffer.from(image.subarray(at + 33, at + 33 + image[at + 32]!)).swap16();
      return [name.toString('utf16le'), contentOf(image, at)];
    }),
  );
}

/** Reads the folder as ECMA-119 says, with Rock Ridge names: the test's own reader. */
function files(image: Buffer): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const at of records(image, 16)) {
    const idLength = image[at + 32]!;
    for (
      let use = at + 33 + idLength + ((idLength + 1) % 2);
      use + 4 <= at + image[at]!;
      use += image[use + 2]!
    ) {
      if (image.toString('latin1', use, use + 2) !== 'NM') continue;
      found.set(image.toString('utf8', use + 5, use + image[use + 2]!), contentOf(image, at));
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
    ['last', Buffer.from('ü')],
    ['user-data', long],
  ]);
});

test('any number of files with any names come back, by both kinds of names', () => {
  const name = fc.stringMatching(/^[A-Za-z0-9._-]{1,103}$/).map((each) => each.slice(0, LONGEST_NAME));
  const file = fc.record({
    name,
    content: fc.uint8Array({ maxLength: 5000 }).map((each) => Buffer.from(each)),
  });
  const list = fc.uniqueArray(file, { selector: (each) => each.name, maxLength: 90, size: 'max' });
  fc.assert(
    fc.property(list, (given) => {
      const image = iso9660('cfgdata', given);
      const wanted = new Map(given.map((each) => [each.name, each.content] as const));
      expect(files(image)).toEqual(wanted);
      expect(jolietFiles(image)).toEqual(wanted);
      const ids = records(image, 16)
        .slice(2)
        .map((at) => image.toString('latin1', at + 33, at + 45));
      expect(ids).toEqual([...ids].sort());
    }),
    { numRuns: 30 },
  );
});

/** As the kubelet mounts a ConfigMap. */
function mounted(content: Record<string, string | Buffer>): string {
  const directory = join(folder, 'mount');
  const moment = join(directory, '..2026_11_21_00_00_00.1');
  mkdirSync(moment, { recursive: true });
  symlinkSync('..2026_11_21_00_00_00.1', join(directory, '..data'));
  for (const [name, text] of Object.entries(content)) {
    writeFileSync(join(moment, name), text);
    symlinkSync(`..data/${name}`, join(directory, name));
  }
  return directory;
}

const filesBackend = (directory: string) =>
  ({ type: 'files', directory, label: 'OEMDRV', path: join(folder, 'disk.iso') }) as const;

test('keys of a ConfigMap become files, and nothing else does', () => {
  const backend = filesBackend(mounted({ 'ks.cfg': 'text\n', '.hidden': 'x', 'Autounattend.xml': '<a/>' }));
  writeFilesImage('config', { ...backend, answers: true });
  const image = readFileSync(backend.path);
  expect(image.toString('latin1', 16 * 2048 + 40, 16 * 2048 + 72).trim()).toBe('OEMDRV');
  expect([...jolietFiles(image).keys()]).toEqual(['.hidden', 'Autounattend.xml', 'ks.cfg']);
  expect(files(image).get('ks.cfg')!.toString()).toBe('text\n');
});

test('an optional one that does not exist is an empty disk', () => {
  const backend = filesBackend(folder);
  writeFilesImage('config', backend);
  expect(files(readFileSync(backend.path)).size).toBe(0);
});

test('what no guest could use is refused, with what to do', () => {
  const long = 'k'.repeat(LONGEST_NAME + 1);
  expect(() => writeFilesImage('config', filesBackend(mounted({ [long]: '' })))).toThrow(
    `a file on it can have a name of at most 103 characters, and the key ${long} has 104`,
  );
  rmSync(join(folder, 'mount'), { recursive: true });
  const answers = { ...filesBackend(mounted({ 'other.xml': '' })), answers: true as const };
  expect(() => writeFilesImage('answers', answers)).toThrow(
    'disk answers: its answer files need a key autounattend.xml or unattend.xml, and there is only other.xml',
  );
  rmSync(join(folder, 'mount'), { recursive: true });
  const large = filesBackend(mounted({ a: Buffer.alloc(MOST_BYTES) }));
  expect(() => writeFilesImage('config', large)).toThrow('put less into the ConfigMap or Secret');
  expect(() => writeFilesImage('config', filesBackend(join(folder, 'none')))).toThrow('cannot be read from');
});

test('the seed holds what cloud-init looks for', () => {
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
});
