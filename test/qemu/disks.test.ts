/** Disks on the real QEMU: full volumes, bounded overlays, devices that two would write to, firmware, cloud-init. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TinyGuest } from '../../images/guests/build.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const run = promisify(execFile);
const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const MIB = 1024 * 1024;

let guest: TinyGuest;
let folder: string;
beforeAll(async () => {
  guest = await tinyGuest();
  folder = await mkdtemp(join(tmpdir(), 'vmstead-disks-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('a full volume pauses the guest, room lets it go on, and nothing is lost', {
  timeout: 180_000,
}, async () => {
  await using launcher = await Launcher.start(machine('', { disks: [fileDisk('data', 48 * MIB)] }), {
    guest,
    // 40 MiB, a part of which something else fills up.
    docker: ['--tmpfs=/disks/data:mode=1777,size=64m'],
  });
  await launcher.guestSays(UP, 1, 60);
  await launcher.sh('head -c 50M /dev/zero | tr "\\0" x >/disks/data/other');
  await launcher.typeIntoConsole('fill /dev/vda 40');
  await expect
    .poll(() => launcher.life(), { timeout: 60_000 })
    .toMatchObject({
      ioError: { disk: 0, noSpace: true },
    });
  expect((await launcher.logs()).launcher).toContain('"to":"IoError"');
  // Also a launcher that was not there at that moment lets the guest go on.
  await launcher.kill('node');
  await expect.poll(() => launcher.life(), { timeout: 30_000 }).toMatchObject({ restarts: 1 });
  await launcher.sh('rm /disks/data/other');
  await launcher.guestSays(/VMSTEAD-FILL \/dev\/vda mib=40 ok/, 1, 60);
  await launcher.typeIntoConsole('verify /dev/vda 40');
  await launcher.guestSays(/VMSTEAD-VERIFY.*same|\bsame\b/, 1, 60);
  expect(await launcher.life()).not.toHaveProperty('ioError');
});

test('a thin device whose storage is full pauses the guest, which tries again by itself', {
  timeout: 180_000,
}, async () => {
  const storage = join(folder, 'storage');
  await mkdir(storage);
  await run('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'vmstead-test', storage]);
  try {
    await writeFile(join(storage, 'other'), Buffer.alloc(12 * MIB, 'x'));
    await writeFile(join(storage, 'thin.img'), '');
    await truncate(join(storage, 'thin.img'), 32 * MIB);
    const loop = (await run('losetup', ['--find', '--show', join(storage, 'thin.img')])).stdout.trim();
    await chmod(loop, 0o666);
    try {
      const disk = { ...fileDisk('data'), backend: { type: 'block', path: '/dev/vmstead/data' } as const };
      await using launcher = await Launcher.start(machine('', { disks: [disk] }), {
        guest,
        docker: [`--device=${loop}:/dev/vmstead/data:rwm`],
      });
      await launcher.guestSays(UP, 1, 60);
      await launcher.typeIntoConsole('fill /dev/vda 18');
      const full = { ioError: { disk: 0, noSpace: true } };
      await expect.poll(() => launcher.life(), { timeout: 60_000 }).toMatchObject(full);
      // It tries, and stops again: nothing is told to the guest.
      await expect
        .poll(async () => (await launcher.logs()).launcher.split('the guest goes on').length, {
          timeout: 60_000,
        })
        .toBeGreaterThan(2);
      expect((await launcher.logs()).guest).not.toContain('VMSTEAD-FILL');
      await rm(join(storage, 'other'));
      await launcher.guestSays(/VMSTEAD-FILL \/dev\/vda mib=18 ok/, 1, 90);
      await launcher.typeIntoConsole('verify /dev/vda 18');
      await launcher.guestSays(/VMSTEAD-VERIFY \/dev\/vda mib=18 same/, 1, 60);
    } finally {
      await run('losetup', ['--detach', loop]);
    }
  } finally {
    await run('umount', ['--lazy', storage]);
  }
});

test('throw-away overlays stop at their bound, and what is below stays as it was; files become a disk', {
  timeout: 180_000,
}, async () => {
  const image = join(folder, 'image');
  await mkdir(join(image, 'disk'), { recursive: true });
  await writeFile(join(image, 'disk', 'disk.img'), 'base');
  await truncate(join(image, 'disk', 'disk.img'), 256 * MIB);
  const overlay = { path: '/var/lib/vmstead/root.qcow2', maxBytes: 16 * MIB };
  const root = { ...fileDisk('root'), backend: { type: 'image', directory: '/image', overlay } as const };
  const disks = join(folder, 'ephemeral');
  for (const name of ['golden', 'config', 'answers']) await mkdir(join(disks, name), { recursive: true });
  await writeFile(join(disks, 'golden', 'disk.img'), 'golden');
  await truncate(join(disks, 'golden', 'disk.img'), 16 * MIB);
  for (let key = 0; key < 40; key++)
    await writeFile(join(disks, 'config', `key-number-${key}`), `value ${key}`);
  await writeFile(join(disks, 'answers', 'Autounattend.xml'), '<unattend/>');
  const golden = {
    ...fileDisk('golden'),
    backend: {
      type: 'ephemeral',
      base: { type: 'file', path: '/disks/golden/disk.img', format: 'raw' },
      overlay: { path: '/var/lib/vmstead/golden.qcow2', maxBytes: 16 * MIB },
    } as const,
  };
  const files = (name: string, label: string) => {
    const path = `/run/vmstead/files-${name}.iso`;
    const backend = { type: 'files', directory: `/disks/${name}`, label, path } as const;
    return { ...fileDisk(name), readOnly: true, backend };
  };
  const answers = { ...files('answers', 'unattendCD'), device: 'cdrom', bus: 'sata' } as const;
  await using launcher = await Launcher.start(
    machine('', {
      disks: [root, golden, files('config', 'OEMDRV'), answers],
      terminationGracePeriodSeconds: 3,
    }),
    {
      guest,
      disks,
      docker: [`--volume=${image}:/image:ro`],
    },
  );
  await launcher.guestSays(UP, 1, 60);
  await launcher.typeIntoConsole(
    'until [ -b /dev/sr0 ]; do sleep 0.1; done; mkdir -p /mnt /mnt2; mount -o ro /dev/vdc /mnt; mount -o ro /dev/sr0 /mnt2; echo "$(ls /mnt | wc -l) $(cat /mnt/key-number-39) $(cat /mnt2/Autounattend.xml) $(cat /sys/block/vdc/ro)"',
  );
  await launcher.guestSays(/^40 value 39 <unattend\/> 1/m, 1, 60);
  await launcher.typeIntoConsole('head -c 6 /dev/vdb; fill /dev/vdb 4; verify /dev/vdb 4');
  await launcher.guestSays(/golden/, 1, 60);
  await launcher.guestSays(/VMSTEAD-VERIFY \/dev\/vdb mib=4 same/, 1, 60);
  expect((await readFile(join(disks, 'golden', 'disk.img'))).subarray(0, 8).toString()).toBe('golden\0\0');
  await launcher.typeIntoConsole('head -c 4 /dev/vda; fill /dev/vda 8');
  await launcher.guestSays(/VMSTEAD-FILL \/dev\/vda mib=8 ok/, 1, 60);
  await launcher.typeIntoConsole('fill /dev/vda 64');
  await expect.poll(() => launcher.life(), { timeout: 60_000 }).toMatchObject({ ioError: { noSpace: true } });
  const blocks = Number(await launcher.sh('stat -c %b /var/lib/vmstead/root.qcow2'));
  expect(blocks * 512).toBeLessThanOrEqual(18 * MIB);
  expect((await stat(join(image, 'disk', 'disk.img'))).blocks).toBeLessThanOrEqual(8);
  // A guest whose disk is stuck cannot shut down.
  expect((await launcher.stop(20)).message).toMatchObject({ result: 'StoppedForced' });
});

test('two launchers on one file, and on one device through two nodes: the second does not start', {
  timeout: 180_000,
}, async () => {
  const disks = join(folder, 'shared');
  await using first = await Launcher.start(machine('', { disks: [fileDisk('data')] }), {
    guest,
    disks,
  });
  await first.guestSays(UP, 1, 60);
  await using second = await Launcher.start(machine('', { disks: [fileDisk('data')] }), {
    guest,
    disks,
  });
  expect(await second.ended()).toMatchObject({ exitCode: 69, message: { result: 'DiskBusy' } });

  const file = join(folder, 'device.img');
  await writeFile(file, '');
  await truncate(file, 32 * MIB);
  const loop = (await run('losetup', ['--find', '--show', file])).stdout.trim();
  await chmod(loop, 0o666);
  try {
    const device = { ...fileDisk('data'), backend: { type: 'block', path: '/dev/vmstead/data' } as const };
    const withDevice = {
      guest,
      docker: [`--device=${loop}:/dev/vmstead/data:rwm`],
    };
    await using owner = await Launcher.start(machine('', { disks: [device] }), withDevice);
    await owner.guestSays(UP, 1, 60);
    await using other = await Launcher.start(machine('', { disks: [device] }), withDevice);
    expect(await other.ended()).toMatchObject({
      exitCode: 69,
      message: {
        result: 'DiskBusy',
        message: expect.stringContaining('the device /dev/vmstead/data is in use'),
      },
    });
    // QEMU itself holds the device: it stays held while no launcher runs.
    await owner.kill('supervise', 'STOP');
    await owner.kill('node');
    await using third = await Launcher.start(machine('', { disks: [device] }), withDevice);
    expect((await third.ended()).message).toMatchObject({ result: 'DiskBusy' });
  } finally {
    await run('losetup', ['--detach', loop]);
  }
});

test('a shareable disk, in a file and on a device: two write to it, and one that wants it alone does not start', {
  timeout: 180_000,
}, async () => {
  const disks = join(folder, 'common');
  const device = join(folder, 'common.img');
  await writeFile(device, '');
  await truncate(device, 32 * MIB);
  const loop = (await run('losetup', ['--find', '--show', device])).stdout.trim();
  await chmod(loop, 0o666);
  try {
    const options = { guest, disks, docker: [`--device=${loop}:/dev/vmstead/raw:rwm`] };
    const backend = { type: 'block', path: '/dev/vmstead/raw' } as const;
    const common = [fileDisk('data'), { ...fileDisk('raw'), bus: 'scsi', backend } as const].map((disk) => ({
      ...disk,
      shareable: true as const,
    }));
    await using first = await Launcher.start(machine('', { disks: common }), options);
    await first.guestSays(UP, 1, 60);
    await using second = await Launcher.start(machine('', { disks: common }), options);
    await second.guestSays(UP, 1, 60);
    for (const [writer, reader, name] of [
      [first, second, 'vda'],
      [second, first, 'sda'],
    ] as const) {
      const wait = `until [ -b /dev/${name} ]; do sleep 0.1; done; `;
      await writer.typeIntoConsole(`${wait}fill /dev/${name} 4`);
      await writer.guestSays(new RegExp(`VMSTEAD-FILL /dev/${name} mib=4 ok`), 1, 60);
      await reader.typeIntoConsole(`${wait}verify /dev/${name} 4`);
      await reader.guestSays(new RegExp(`VMSTEAD-VERIFY /dev/${name} mib=4 same`), 1, 60);
    }
    // The device is thin as well: what the guest discards is room on the storage again.
    const blocks = async () => (await stat(device)).blocks * 512;
    expect(await blocks()).toBeGreaterThanOrEqual(4 * MIB);
    await first.typeIntoConsole('sync; blkdiscard /dev/sda; echo discarded');
    await first.guestSays(/^discarded/m, 1, 60);
    await expect.poll(blocks, { timeout: 30_000 }).toBeLessThan(MIB);
    await using third = await Launcher.start(machine('', { disks: [fileDisk('data')] }), { guest, disks });
    expect((await third.ended()).message).toMatchObject({ result: 'DiskBusy' });
  } finally {
    await run('losetup', ['--detach', loop]);
  }
});

test('UEFI keeps its variables, cloud-init data reach the guest', { timeout: 180_000 }, async () => {
  const description = machine('', {
    firmware: { type: 'UEFI', variables: '/state/uefi-variables.fd' },
    memoryMiB: 256,
    cloudInit: { instanceId: 'i-7', hostname: 'seeded', userData: { inline: '#cloud-config\n' } },
  });
  await using launcher = await Launcher.start(description, { guest });
  await launcher.guestSays(/VMSTEAD-CLOUD-INIT .*instance-id=i-7 hostname=seeded/, 1, 100);
  const variables = await stat(join(launcher.folder, 'state', 'uefi-variables.fd'));
  expect(variables.size).toBe(540_672);
  expect((await launcher.stop(30)).message).toMatchObject({ result: 'Stopped' });
});

test('a sandbox without asynchronous I/O: threads do it', { timeout: 120_000 }, async () => {
  const profile = join(folder, 'seccomp.json');
  const refused = { names: ['io_setup', 'io_uring_setup'], action: 'SCMP_ACT_ERRNO' };
  await writeFile(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [refused] }));
  await using launcher = await Launcher.start(machine('', { disks: [fileDisk('data')] }), {
    guest,
    docker: [`--security-opt=seccomp=${profile}`],
  });
  await launcher.guestSays(UP, 1, 60);
  // QEMU finds it out at the first read, which the guest may do after it has said that it is up.
  await expect
    .poll(() => launcher.sh('cat /run/vmstead/qemu.log'), { timeout: 60_000 })
    .toContain('falling back to thread pool');
});
