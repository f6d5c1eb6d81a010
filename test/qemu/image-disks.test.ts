/** Disks that begin as an image, on the real QEMU: every format below, independence while the guest writes, a power cut. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MachineBase, MachineDisk } from '../../crds/machine-description.ts';
import { IMAGE_FILE, type ImageFormat } from '../../crds/mover.ts';
import { docker } from '../../images/docker.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { Launcher, machine, tinyGuest } from './support/launcher.ts';

const run = promisify(execFile);
const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const MIB = 1024 * 1024;
const FORMATS: readonly ImageFormat[] = ['raw', 'qcow2', 'vmdk', 'vdi', 'vpc', 'vhdx'];

let guest: TinyGuest;
let folder: string;
beforeAll(async () => {
  guest = await tinyGuest();
  folder = await mkdtemp(join(tmpdir(), 'vmstead-images-'));
  await chmod(folder, 0o755);
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** `qemu-img` of the launcher image, with `folder` at /files. */
async function qemuImg(...args: string[]): Promise<string> {
  const volume = `--volume=${folder}:/files`;
  return await docker([
    'run',
    '--rm',
    '--network=none',
    '--user=0',
    volume,
    'vmstead/qemu:dev',
    'qemu-img',
    ...args,
  ]);
}

/** Makes an image of random data in each format that is asked for; gives the data. */
async function makeImages(name: string, mib: number, formats: readonly ImageFormat[]): Promise<Buffer> {
  const data = randomBytes(mib * MIB);
  await writeFile(join(folder, `${name}.data`), data);
  for (const format of formats) {
    const place = join(folder, name, format);
    await mkdir(place, { recursive: true });
    const file = `/files/${name}/${format}/${IMAGE_FILE[format]}`;
    await qemuImg('convert', '-f', 'raw', '-O', format, `/files/${name}.data`, file);
  }
  return data;
}

async function baseOf(name: string, format: ImageFormat): Promise<MachineBase> {
  const file = join(folder, name, format, IMAGE_FILE[format]);
  const info = JSON.parse(
    await qemuImg('info', '--output=json', '-f', format, file.replace(folder, '/files')),
  ) as {
    'virtual-size': number;
  };
  return {
    type: 'file',
    path: `/bases/${format}/${IMAGE_FILE[format]}`,
    format,
    bytes: (await stat(file)).size,
    virtualBytes: info['virtual-size'],
  };
}

function diskOn(base: MachineBase, name: string, flatten: boolean): MachineDisk {
  return {
    name,
    device: 'disk',
    bus: 'virtio',
    serial: name,
    readOnly: false,
    backend: {
      type: 'file',
      path: `/disks/${name}/disk.qcow2`,
      format: 'qcow2',
      create: { maxBytes: 512 * MIB },
      base,
      ...(flatten ? { flatten: true as const } : {}),
    },
  };
}

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
const mounted = (name: string) => [`--volume=${join(folder, name)}:/bases:ro`];

/** The images that QEMU has open. */
async function openBases(launcher: Launcher): Promise<string[]> {
  const script = `for p in /proc/[0-9]*; do case "$(tr '\\0' ' ' <$p/cmdline 2>/dev/null)" in *qemu-system*)
    find $p/fd -lname '/bases/*' -printf '%l\\n' 2>/dev/null;; esac; done; true`;
  return [...new Set((await launcher.sh(script)).split('\n').filter((line) => line !== ''))].sort();
}

/** The backing file that the header of a qcow2 names. */
async function mark(path: string): Promise<string> {
  await using file = await open(path, 'r');
  const header = Buffer.alloc(4096);
  await file.read(header, 0, header.length, 0);
  const at = Number(header.readBigUInt64BE(8));
  return header.subarray(at, at + header.readUInt32BE(16)).toString();
}

test('a guest reads its disk from an image of every format, and each disk becomes independent of it', {
  timeout: 240_000,
}, async () => {
  const data = await makeImages('each', 8, FORMATS);
  const bases = await Promise.all(FORMATS.map((format) => baseOf('each', format)));
  const disks = bases.map((base) => diskOn(base, base.format, true));
  await using launcher = await Launcher.start(machine('', { disks }), { guest, docker: mounted('each') });
  await launcher.guestSays(UP, 1, 90);
  await launcher.typeIntoConsole(
    `for d in a b c d e f; do echo "READ $d $(head -c ${data.length} /dev/vd$d | sha256sum) $(blockdev --getsize64 /dev/vd$d)"; done`,
  );
  const read = await launcher.guestSays(/READ ([a-f]) ([0-9a-f]{64}) +- ([0-9]+)/, 6, 60);
  expect(read.map((match) => match[2])).toEqual(FORMATS.map(() => sha256(data)));
  expect(read.map((match) => Number(match[3]))).toEqual(FORMATS.map(() => 512 * MIB));
  await expect.poll(() => openBases(launcher), { timeout: 60_000 }).toEqual([]);
  for (const format of FORMATS) {
    expect(await mark(join(launcher.disks, format, 'disk.qcow2')), format).toBe('');
  }
  await launcher.typeIntoConsole(
    `echo 3 >/proc/sys/vm/drop_caches; for d in a b c d e f; do echo "AGAIN $(head -c ${data.length} /dev/vd$d | sha256sum)"; done`,
  );
  const again = await launcher.guestSays(/AGAIN ([0-9a-f]{64})/, 6, 60);
  expect(again.map((match) => match[1])).toEqual(FORMATS.map(() => sha256(data)));
});

test('a power cut in the middle of the copy: the next start goes on, and nothing that was written is lost', {
  timeout: 300_000,
}, async () => {
  const data = await makeImages('big', 240, ['qcow2']);
  const disk = diskOn(await baseOf('big', 'qcow2'), 'root', true);
  const disks = join(folder, 'disks');
  const path = join(disks, 'root', 'disk.qcow2');
  const slots = 64;
  const start = () =>
    Launcher.start(machine(`vmstead.sectors=/dev/vda vmstead.sectors.slots=${slots}`, { disks: [disk] }), {
      guest,
      disks,
      docker: mounted('big'),
      // Slow enough for a guest on a busy machine to write while it goes on.
      env: { VMSTEAD_COPY_SPEED: String(8 * MIB) },
    });
  let said = '';
  {
    await using launcher = await start();
    await launcher.guestSays(/VMSTEAD-SECTOR boot_id=\S+ acked/, 1, 90);
    await expect
      .poll(async () => (await stat(path)).blocks * 512, { timeout: 60_000, interval: 20 })
      .toBeGreaterThan(20 * MIB);
    await docker(['kill', '--signal=KILL', launcher.container]);
    expect((await stat(path)).blocks * 512).toBeLessThan(data.length);
    expect(await mark(path)).toBe('vmstead-base');
    said += launcher.heard.guest;
  }
  {
    await using launcher = await start();
    await launcher.guestSays(/VMSTEAD-SECTOR boot_id=\S+ acked/, 1, 90);
    // Another launcher goes on with the same copy.
    await launcher.kill('node');
    await expect.poll(() => mark(path), { timeout: 90_000 }).toBe('');
    await expect.poll(() => openBases(launcher), { timeout: 30_000 }).toEqual([]);
    // The end of the copy is on the storage: a power cut right behind it takes nothing back.
    await launcher.kill('qemu-system-x86_64');
    await launcher.ended(60);
    said += launcher.heard.guest;
  }
  await rm(join(folder, 'big'), { recursive: true });
  await qemuImg('check', '-f', 'qcow2', '/files/disks/root/disk.qcow2').catch((error: unknown) => {
    // 3: leaked clusters, which a power cut leaves and which harm nothing.
    if ((error as { code?: number }).code !== 3) throw error;
  });
  await qemuImg('convert', '-f', 'qcow2', '-O', 'raw', '/files/disks/root/disk.qcow2', '/files/after.data');
  const after = await readFile(join(folder, 'after.data'));
  const ring = slots * 4096;
  expect(sha256(after.subarray(ring, data.length))).toBe(sha256(data.subarray(ring)));
  const judged = judge(await readRing(join(folder, 'after.data')), parseAcknowledgements(said));
  expect(judged).toEqual([]);
});

test('a block claim: the overlay is on the device, the image on another one', {
  timeout: 180_000,
}, async () => {
  const data = await makeImages('block', 8, ['vhdx', 'vmdk']);
  const loops: string[] = [];
  const device = async (path: string, bytes: number): Promise<string> => {
    await truncate(path, bytes);
    const loop = (await run('losetup', ['--find', '--show', path])).stdout.trim();
    loops.push(loop);
    await chmod(loop, 0o666);
    return loop;
  };
  try {
    const names = ['vhdx', 'vmdk'] as const;
    const mounts: string[] = [];
    const disks: MachineDisk[] = [];
    for (const format of names) {
      const base = await baseOf('block', format);
      const image = await device(join(folder, 'block', format, IMAGE_FILE[format]), 64 * MIB);
      const target = join(folder, `target-${format}`);
      await writeFile(target, '');
      mounts.push(`--device=${image}:/dev/vmstead-bases/${format}:r`);
      mounts.push(`--device=${await device(target, 128 * MIB)}:/dev/vmstead/${format}:rwm`);
      disks.push({
        ...diskOn(base, format, format === 'vhdx'),
        backend: {
          type: 'block',
          path: `/dev/vmstead/${format}`,
          format: 'qcow2',
          base: { ...base, type: 'block', path: `/dev/vmstead-bases/${format}` },
          ...(format === 'vhdx' ? { flatten: true as const } : {}),
        },
      });
    }
    {
      await using launcher = await Launcher.start(machine('', { disks }), { guest, docker: mounts });
      await launcher.guestSays(UP, 1, 90);
      await launcher.typeIntoConsole(
        `for d in a b; do echo "READ $(head -c ${data.length} /dev/vd$d | sha256sum)"; done; echo kept | dd of=/dev/vdb oflag=direct conv=sync bs=512; echo WROTE`,
      );
      const read = await launcher.guestSays(/READ ([0-9a-f]{64})/, 2, 60);
      expect(read.map((match) => match[1])).toEqual([sha256(data), sha256(data)]);
      await launcher.guestSays(/^WROTE/m, 1, 30);
      await expect.poll(() => mark(join(folder, 'target-vhdx')), { timeout: 60_000 }).toBe('');
      expect(await mark(join(folder, 'target-vmdk'))).toBe('vmstead-base');
      await launcher.stop(30);
    }
    {
      await using launcher = await Launcher.start(machine('', { disks }), { guest, docker: mounts });
      await launcher.guestSays(UP, 1, 90);
      await launcher.typeIntoConsole('echo "FOUND $(head -c 4 /dev/vdb)"');
      await launcher.guestSays(/FOUND kept/, 1, 30);
    }
    // What is no disk of ours is not written over.
    const file = await open(join(folder, 'target-vhdx'), 'r+');
    await file.write(Buffer.from('somebody else'), 0, 13, 0);
    await file.close();
    await using refused = await Launcher.start(machine('', { disks }), { guest, docker: mounts });
    expect((await refused.ended()).message).toMatchObject({
      result: 'DiskUnusable',
      message: expect.stringContaining('not written over'),
    });
  } finally {
    for (const loop of loops) await run('losetup', ['--detach', loop]);
  }
});
