/** Images that QEMU's own tools wrote, good and hostile, through the mover of the real launcher image. */
import { execFile } from 'node:child_process';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IMAGE_FILE, type ImageFormat, type MoverResult } from '../../crds/mover.ts';
import { MIB, noise } from '../mover/import.ts';
import { sha } from '../mover/web-server.ts';
import { MoverBox, WORK } from './support/mover.ts';

let box: MoverBox;
let turn = 0;

/** A disk with data at the beginning, in the middle and at the end, and holes between. */
const disk = Buffer.alloc(12 * MIB);
noise(MIB, 1).copy(disk, 0);
noise(MIB / 2, 2).copy(disk, 5 * MIB + 4096);
noise(64 * 1024, 3).copy(disk, disk.length - 64 * 1024);

beforeAll(async () => {
  box = await MoverBox.open();
  await writeFile(join(box.directory, 'disk.raw'), disk);
});
afterAll(async () => await box[Symbol.asyncDispose]());

interface Moved {
  result: MoverResult;
  target: string;
  files: string[];
}

/** Imports a file of the work folder into a fresh target. */
async function move(file: string): Promise<Moved> {
  const target = `target-${++turn}`;
  const result = await box.move({ type: 'claim', directory: WORK, path: file }, target);
  return { result: result!, target, files: (await readdir(join(box.directory, target))).sort() };
}

/** The image holds exactly the disk, in its own format, as it came. */
async function expectDisk({ result, target, files }: Moved, format: ImageFormat, file: string) {
  expect(result).toMatchObject({ result: 'Succeeded', image: { format } });
  expect(files).toEqual([IMAGE_FILE[format], 'disk.json'].sort());
  const path = `${target}/${IMAGE_FILE[format]}`;
  const stored = await readFile(join(box.directory, path));
  expect('image' in result && result.image).toMatchObject({ sha256: sha(stored), bytes: stored.length });
  if (file !== '') expect(sha(stored)).toBe(sha(await readFile(join(box.directory, file))));
  await box.sh(`qemu-img compare -f raw -F ${format} disk.raw ${path}`);
}

const VARIETIES: readonly (readonly [ImageFormat, string])[] = [
  ['raw', ''],
  ['qcow2', ''],
  ['qcow2', 'compat=0.10'],
  ['qcow2', 'cluster_size=512'],
  ['qcow2', 'cluster_size=2M'],
  ['qcow2', 'extended_l2=on,cluster_size=128k'],
  ['qcow2', 'lazy_refcounts=on,refcount_bits=1'],
  ['qcow2', 'preallocation=metadata'],
  ['vmdk', ''],
  ['vmdk', 'subformat=monolithicSparse,adapter_type=lsilogic'],
  ['vmdk', 'subformat=streamOptimized'],
  ['vmdk', 'subformat=streamOptimized,compat6'],
  ['vdi', ''],
  ['vdi', 'static=on'],
  ['vpc', 'subformat=dynamic,force_size=on'],
  ['vpc', 'subformat=fixed,force_size=on'],
  ['vhdx', ''],
  ['vhdx', 'subformat=fixed,block_size=1M'],
];

describe('every variety that qemu-img writes', () => {
  test.each(VARIETIES)('%s %s', async (format, options) => {
    const file = `a-${++turn}.${format}`;
    await box.sh(`qemu-img convert -f raw -O ${format} ${options && `-o ${options}`} disk.raw ${file}`);
    const moved = await move(file);
    await expectDisk(moved, format, file);
    expect(moved.result).toMatchObject({ image: { virtualBytes: disk.length } });
  });

  test.each(['zlib', 'zstd'])('qcow2 with compressed clusters: %s', async (kind) => {
    const file = `a-${++turn}.qcow2`;
    await box.sh(`qemu-img convert -c -f raw -O qcow2 -o compression_type=${kind} disk.raw ${file}`);
    await expectDisk(await move(file), 'qcow2', file);
  });

  test('qcow2 with an internal snapshot', async () => {
    await box.sh('qemu-img convert -O qcow2 -f raw disk.raw snap.qcow2; qemu-img snapshot -c one snap.qcow2');
    await expectDisk(await move('snap.qcow2'), 'qcow2', 'snap.qcow2');
  });

  test('a VHD rounded to whole cylinders has the size that QEMU shows', async () => {
    await box.sh('qemu-img convert -f raw -O vpc disk.raw chs.vhd');
    const info = JSON.parse(await box.sh('qemu-img info -f vpc --output=json chs.vhd')) as {
      'virtual-size': number;
    };
    expect((await move('chs.vhd')).result).toMatchObject({
      image: { format: 'vpc', virtualBytes: info['virtual-size'] },
    });
  });
});

describe('compressed', () => {
  test.each([
    ['gz', 'gzip -c'],
    ['xz', 'xz -c -2'],
    ['xz', 'xz -c -0 -T2 --block-size=1MiB'],
    ['zst', 'zstd -c -q'],
    ['bz2', 'bzip2 -c -1'],
  ])('%s: %s', async (wrapper, program) => {
    await box.sh(`${program} disk.raw > packed`);
    const moved = await move('packed');
    await expectDisk(moved, 'raw', 'disk.raw');
    expect(moved.result).toMatchObject({ image: { source: { compression: [wrapper] } } });
  });

  test('several frames or members, one in another kind', async () => {
    await box.sh(
      'for p in gzip xz zstd bzip2; do (head -c 3000000 disk.raw | $p -c; tail -c +3000001 disk.raw | $p -c) > two.$p; done; gzip -c two.xz > two.xz.gz',
    );
    for (const name of ['two.gzip', 'two.xz', 'two.zstd', 'two.bzip2', 'two.xz.gz'])
      await expectDisk(await move(name), 'raw', 'disk.raw');
  });

  test.each(['gzip', 'xz', 'zstd', 'bzip2'])('cut off or damaged: %s', async (program) => {
    await box.sh(
      `${program} -c < disk.raw > whole; head -c -1000 whole > cut; (head -c 200000 whole; printf garbage; tail -c +200008 whole) > bad`,
    );
    for (const name of ['cut', 'bad']) {
      const { result, files } = await move(name);
      expect(result).toMatchObject({ code: 'ImageUnusable', retry: false });
      expect(files).toEqual([]);
    }
  });

  test('what needs more memory than may be is refused', async () => {
    await box.sh('head -c 1000 disk.raw | xz -c --lzma2=dict=512MiB > wide.xz');
    expect((await move('wide.xz')).result).toMatchObject({
      code: 'ImageUnusable',
      message: expect.stringMatching(/memory/i),
    });
  });
});

describe('hostile and unusable', () => {
  test.each([
    ['a backing file', 'qemu-img create -f qcow2 -b /etc/passwd -F raw evil.qcow2', 'with a backing file'],
    [
      'a data file',
      'qemu-img create -f qcow2 -o data_file=data.raw,data_file_raw=on evil.qcow2 1M',
      'external data file',
    ],
    [
      'LUKS',
      'qemu-img create -f luks --object secret,id=s,data=x -o key-secret=s,iter-time=10 evil.qcow2 1M',
      'encrypted with LUKS',
    ],
    [
      'encrypted',
      'qemu-img create -f qcow2 --object secret,id=s,data=x -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 evil.qcow2 1M',
      'encrypted qcow2',
    ],
    [
      'VMDK in several files',
      'qemu-img create -f vmdk -o subformat=twoGbMaxExtentSparse many.vmdk 1M; mv many-s001.vmdk evil.qcow2',
      'one part of a VMDK',
    ],
    [
      'flat VMDK',
      'qemu-img create -f vmdk -o subformat=monolithicFlat flat.vmdk 1M; mv flat.vmdk evil.qcow2',
      'whose data are in other files',
    ],
    [
      'VMDK with a parent',
      'qemu-img create -f vmdk parent.vmdk 1M; qemu-img create -f vmdk -b parent.vmdk -F vmdk evil.qcow2',
      'difference to a parent',
    ],
    ['QED', 'qemu-img create -f qed evil.qcow2 1M', 'a QED image'],
    ['Parallels', 'qemu-img create -f parallels evil.qcow2 1M', 'a Parallels image'],
    ['tar with ..', 'cp disk.raw x; tar -cPf evil.qcow2 ../files/x', 'a tar archive'],
  ])('%s', async (_name, make, reason) => {
    await box.sh(`rm -f evil.qcow2; ${make}`);
    const { result, files } = await move('evil.qcow2');
    expect(result).toMatchObject({
      code: 'ImageUnusable',
      retry: false,
      message: expect.stringContaining(reason),
    });
    expect(files).toEqual([]);
  });

  test('a disk of 4 TiB in some KiB', async () => {
    for (const format of ['qcow2', 'vmdk', 'vdi', 'vhdx']) {
      await box.sh(`rm -f bomb; qemu-img create -q -f ${format} bomb 4T`);
      expect((await move('bomb')).result, format).toMatchObject({ code: 'ImageTooLarge', retry: false });
    }
  });

  test.each(VARIETIES.filter(([format]) => format !== 'raw'))('cut off: %s %s', async (format, options) => {
    await box.sh(
      `qemu-img convert -f raw -O ${format} ${options && `-o ${options}`} disk.raw whole; size=$(stat -c %s whole); head -c $((size * 6 / 10)) whole > cut`,
    );
    const { result, files } = await move('cut');
    // Without its end, a VHD of fixed size is nothing but the beginning of a disk.
    if (options.includes('subformat=fixed,force')) expect(result).toMatchObject({ image: { format: 'raw' } });
    else {
      expect(result).toMatchObject({ code: 'ImageUnusable', retry: false });
      expect(files).toEqual([]);
    }
  });
});

describe('a block device', () => {
  test('that held something else holds the image, and thin it stays', async () => {
    const run = promisify(execFile);
    const file = join(box.directory, 'device');
    await run('truncate', ['--size=48M', file]);
    const rest = noise(4 * MIB, 9);
    await writeFile(file, rest, { flag: 'r+' });
    const loop = (await run('losetup', ['--find', '--show', file])).stdout.trim();
    try {
      await chmod(loop, 0o666);
      await using inside = await MoverBox.open([`--device=${loop}:/dev/vmstead/target:rwm`]);
      await writeFile(join(inside.directory, 'disk.raw'), disk);
      await inside.sh('qemu-img convert -f raw -O qcow2 disk.raw a.qcow2');
      const target = { type: 'block', path: '/dev/vmstead/target' } as const;
      const image = await readFile(join(inside.directory, 'a.qcow2'));
      const source = { type: 'claim', directory: WORK } as const;
      expect(await inside.move({ ...source, path: 'a.qcow2' }, 'x', { target })).toMatchObject({
        image: { format: 'qcow2', bytes: image.length, sha256: sha(image) },
      });
      await run('sync');
      expect(sha((await readFile(loop)).subarray(0, image.length))).toBe(sha(image));
      // The zeros of a raw disk are written where there was something, and only there.
      expect(await inside.move({ ...source, path: 'disk.raw' }, 'x', { target })).toMatchObject({
        image: { sha256: sha(disk) },
      });
      expect(sha((await readFile(loop)).subarray(0, disk.length))).toBe(sha(disk));
      const { blocks } = await import('node:fs').then(({ statSync }) => statSync(file));
      expect(blocks * 512).toBeLessThan(8 * MIB);
      await writeFile(join(inside.directory, 'large.raw'), Buffer.alloc(49 * MIB, 1));
      expect(await inside.move({ ...source, path: 'large.raw' }, 'x', { target })).toMatchObject({
        code: 'ImageTooLarge',
      });
    } finally {
      await run('losetup', ['--detach', loop]);
    }
  });
});
