import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeOciLayout } from './oci-layout.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layout-'));
});
afterEach(() => rm(folder, { recursive: true }));

const json = async (...path: string[]) => JSON.parse(await readFile(join(folder, ...path), 'utf8'));

async function layout(content: string): Promise<void> {
  await writeFile(join(folder, 'content'), content);
  await writeOciLayout(join(folder, 'out'), {
    references: ['vmstead/guest:1', 'vmstead/guest:dev'],
    files: [{ path: '/disk/deep/disk.raw', source: join(folder, 'content') }],
    owner: 107,
  });
}

test('every blob has the digest that is its name, and each is reached from the index', async () => {
  await layout('x'.repeat(1000));
  const names = await readdir(join(folder, 'out', 'blobs', 'sha256'));
  expect(names).toHaveLength(3);
  for (const name of names) {
    const bytes = await readFile(join(folder, 'out', 'blobs', 'sha256', name));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(name);
  }
  const blob = (descriptor: { digest: string }) =>
    json('out', 'blobs', 'sha256', descriptor.digest.replace('sha256:', ''));
  const index = await json('out', 'index.json');
  expect(index.manifests).toHaveLength(2);
  const manifest = await blob(index.manifests[0]);
  const config = await blob(manifest.config);
  expect(config.rootfs.diff_ids).toEqual([manifest.layers[0].digest]);
});

test('the layer is a tar that tar itself understands, folders and owner included', async () => {
  await layout('the content');
  const [{ Layers }] = await json('out', 'manifest.json');
  const archive = join(folder, 'out', Layers[0]);
  const listing = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--file', archive], {
    encoding: 'utf8',
  });
  expect(
    listing
      .trim()
      .split('\n')
      .map((line) => line.replace(/ +/g, ' ').replace(/ 1970\S+ \S+/, '')),
  ).toEqual([
    'drwxr-xr-x 107/107 0 disk/',
    'drwxr-xr-x 107/107 0 disk/deep/',
    '-rw-r--r-- 107/107 11 disk/deep/disk.raw',
  ]);
  const content = execFileSync('tar', ['--extract', '--to-stdout', '--file', archive, 'disk/deep/disk.raw']);
  expect(content.toString()).toBe('the content');
});

test('the same files give the same bytes', async () => {
  await layout('same');
  const first = await readFile(join(folder, 'out', 'index.json'), 'utf8');
  await rm(join(folder, 'out'), { recursive: true });
  await layout('same');
  expect(await readFile(join(folder, 'out', 'index.json'), 'utf8')).toBe(first);
});
