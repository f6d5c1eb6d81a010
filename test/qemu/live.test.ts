/** Disks that are changed while their guest runs: limits, media, size. */
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MachineDisk } from '../../crds/machine-description.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { DISK_SECTOR, makeBootableCd } from './support/bootable-cd.ts';
import { TestOperator } from './support/channel.ts';
import { isolate, release } from './support/isolated.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const run = promisify(execFile);
const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const MIB = 1024 * 1024;
const NETWORK = `vmstead-live-${process.pid}`;
let gateway: string;
let guest: TinyGuest;
let folder: string;
beforeAll(async () => {
  guest = await tinyGuest();
  ({ folder, gateway } = await isolate(NETWORK));
});
afterAll(async () => {
  await release(NETWORK, folder);
});

async function start(operator: TestOperator, disks: MachineDisk[], more: string[] = []): Promise<Launcher> {
  const { address, serverName, caCertificate } = operator;
  const channel = { addresses: [address], serverName, caCertificate };
  const launcher = await Launcher.start(machine('', { disks, channel, ioThreads: 1 }), {
    guest,
    docker: [`--network=${NETWORK}`, ...more],
    prepare: (etc) => copyFile(join(folder, 'token'), join(etc, 'token')),
  });
  await launcher.guestSays(UP, 1, 60);
  await expect.poll(() => operator.report?.disks?.length, { timeout: 30_000 }).toBe(disks.length);
  return launcher;
}

/** What the launcher says of a disk, once it has carried the revision out. */
async function told(operator: TestOperator, revision: number, disk = 0) {
  await expect.poll(() => operator.report?.revision, { timeout: 30_000 }).toBe(revision);
  return operator.report?.disks?.[disk];
}

test('limits hold from one moment to the next, also for a launcher that was started again', {
  timeout: 180_000,
}, async () => {
  await using operator = await TestOperator.start(gateway, folder);
  const disks = [fileDisk('data', 32 * MIB), { ...fileDisk('nvme', 32 * MIB), bus: 'nvme' as const }];
  await using launcher = await start(operator, disks);
  expect(operator.hellos[0]?.features).toContain('live');
  const write = (device: string, name: string) =>
    `t=$(cut -d. -f1 /proc/uptime); dd if=/dev/zero of=${device} bs=4k count=60 oflag=direct 2>/dev/null; echo ${name} took $(($(cut -d. -f1 /proc/uptime) - t))`;
  const limited = disks.map((disk) => ({ ...disk, limits: { iops: 10 } }));
  operator.send({ type: 'machine', revision: 1, disks: limited });
  expect(await told(operator, 1)).toMatchObject({ name: 'data', limits: { iops: 10 } });
  expect(await told(operator, 1, 1)).toMatchObject({ name: 'nvme', limits: { iops: 10 } });
  await launcher.typeIntoConsole(write('/dev/vda', 'first'));
  expect(Number((await launcher.guestSays(/first took (\d+)/, 1, 60))[0]?.[1])).toBeGreaterThanOrEqual(4);

  await launcher.kill('node');
  await expect.poll(() => operator.hellos.length, { timeout: 30_000 }).toBe(2);
  expect(await told(operator, 1)).toMatchObject({ limits: { iops: 10 } });
  // An echo of an earlier wish changes nothing.
  operator.send({ type: 'machine', revision: 0, disks });
  operator.send({ type: 'machine', revision: 2, disks: [disks[0]!, limited[1]!] });
  expect(await told(operator, 2)).not.toHaveProperty('limits');
  expect(await told(operator, 2, 1)).toMatchObject({ limits: { iops: 10 } });
  await launcher.typeIntoConsole(write('/dev/vda', 'second'));
  expect(Number((await launcher.guestSays(/second took (\d+)/, 1, 60))[0]?.[1])).toBeLessThan(4);
});

test('media go out and in; a guest that holds its tray is asked first', { timeout: 240_000 }, async () => {
  await using operator = await TestOperator.start(gateway, folder);
  const drives = (['sata', 'scsi', 'ide', 'usb'] as const).map(
    (bus): MachineDisk => ({ ...fileDisk(bus, 4 * MIB), bus, device: 'cdrom', readOnly: true }),
  );
  await using launcher = await start(operator, drives);
  await launcher.typeIntoConsole('until [ -b /dev/sr2 ]; do sleep 0.1; done; echo drives there');
  await launcher.guestSays(/drives there/, 1, 60);
  for (const [index] of drives.entries()) {
    expect(await told(operator, 0, index)).toMatchObject({ media: 'Inserted', capacityBytes: 4 * MIB });
  }
  operator.send({ type: 'machine', revision: 1, disks: drives.map((each) => ({ ...each, ejected: true })) });
  for (const [index] of drives.entries()) {
    expect(await told(operator, 1, index)).toEqual({ name: drives[index]?.name, media: 'Empty' });
  }
  await launcher.typeIntoConsole('head -c 1 /dev/sr0 >/dev/null 2>/tmp/e; cat /tmp/e');
  await launcher.guestSays(/No medium found/, 1, 60);
  operator.send({ type: 'machine', revision: 2, disks: drives });
  expect(await told(operator, 2)).toMatchObject({ media: 'Inserted', capacityBytes: 4 * MIB });
  await launcher.typeIntoConsole('sleep 1; exec 3</dev/sr0; echo held $?');
  await launcher.guestSays(/held 0/, 1, 60);

  // Somebody in the guest has it open: the kernel has locked the tray.
  operator.send({ type: 'machine', revision: 3, disks: drives.map((each) => ({ ...each, ejected: true })) });
  const problems = () => (operator.report?.disks ?? []).flatMap(({ problem }) => problem ?? []);
  await expect.poll(problems, { timeout: 20_000 }).toEqual([expect.stringContaining('locked the tray')]);
  const media = () => operator.report?.disks?.map((disk) => disk.media);
  await expect.poll(media, { timeout: 60_000 }).toEqual(drives.map(() => 'Empty'));
  expect(problems()).toEqual([]);
});

test('an installation from a CD-ROM: blank disk, boot order, eject while it runs, and the disk boots', {
  timeout: 240_000,
}, async () => {
  const disks = join(folder, 'install');
  await mkdir(join(disks, 'installer'), { recursive: true });
  const bytes = await makeBootableCd(guest.disk, join(disks, 'installer', 'disk.img'));
  await using operator = await TestOperator.start(gateway, folder);
  const root: MachineDisk = { ...fileDisk('root', 64 * MIB), bootIndex: 1 };
  const cd: MachineDisk = {
    ...fileDisk('installer'),
    ...{ device: 'cdrom', bus: 'sata', readOnly: true, bootIndex: 2 },
    backend: { type: 'file', path: '/disks/installer/disk.img', format: 'raw' },
  };
  const { address, serverName, caCertificate } = operator;
  const channel = { addresses: [address], serverName, caCertificate };
  const { kernel: _, ...description } = machine('', { disks: [root, cd], channel, memoryMiB: 256 });
  await using launcher = await Launcher.start(description, {
    guest,
    disks,
    docker: [`--network=${NETWORK}`],
    prepare: (etc) => copyFile(join(folder, 'token'), join(etc, 'token')),
  });
  await launcher.guestSays(UP, 1, 100);
  const copy = `dd if=/dev/sr0 of=/dev/vda bs=2048 skip=${DISK_SECTOR} count=${bytes / 2048} oflag=direct`;
  await launcher.typeIntoConsole(
    `until [ -b /dev/sr0 ]; do sleep 0.1; done; ${copy} 2>/dev/null; sync; echo installed $?`,
  );
  await launcher.guestSays(/^installed 0/m, 1, 100);
  operator.send({ type: 'machine', revision: 1, disks: [root, { ...cd, ejected: true }] });
  await expect.poll(() => operator.report?.disks?.[1]?.media, { timeout: 60_000 }).toBe('Empty');
  await launcher.typeIntoConsole('reboot');
  const ids = await launcher.guestSays(UP, 2, 100);
  expect(ids[0]?.[1]).not.toBe(ids[1]?.[1]);
});

test('a disk grows with its claim and its volume, without a reboot', { timeout: 240_000 }, async () => {
  const file = join(folder, 'device.img');
  await writeFile(file, '');
  await truncate(file, 32 * MIB);
  const loop = (await run('losetup', ['--find', '--show', file])).stdout.trim();
  await chmod(loop, 0o666);
  try {
    await using operator = await TestOperator.start(gateway, folder);
    const device: MachineDisk = {
      ...fileDisk('device'),
      backend: { type: 'block', path: '/dev/vmstead/device' },
    };
    const data = (maxBytes: number) => fileDisk('data', maxBytes * MIB);
    await using launcher = await start(
      operator,
      [data(32), device],
      [`--device=${loop}:/dev/vmstead/device:rwm`, '--tmpfs=/disks/data:mode=1777,size=128m'],
    );
    const sees = async (disk: string, mebibytes: number) => {
      await launcher.typeIntoConsole(
        `n=0; until [ $(cat /sys/block/${disk}/size) = ${mebibytes * 2048} ] || [ $((n += 1)) = 100 ]; do sleep 0.1; done; echo ${disk} has $(($(cat /sys/block/${disk}/size) / 2048))`,
      );
      await launcher.guestSays(new RegExp(`${disk} has ${mebibytes}\\b`), 1, 60);
    };
    await sees('vda', 32);
    await sees('vdb', 32);
    await launcher.typeIntoConsole('fill /dev/vda 8; fill /dev/vdb 8');
    await launcher.guestSays(/VMSTEAD-FILL \/dev\/vdb mib=8 ok/, 1, 60);

    operator.send({ type: 'machine', revision: 1, disks: [data(64), device] });
    expect(await told(operator, 1)).toMatchObject({ capacityBytes: 64 * MIB });
    await sees('vda', 64);
    // More than the volume has: as far as it goes, and on when there is more.
    await launcher.sh('head -c 40M /dev/zero >/disks/data/other');
    operator.send({ type: 'machine', revision: 2, disks: [data(1024), device] });
    expect((await told(operator, 2))?.capacityBytes).toBeLessThan(88 * MIB);
    await launcher.sh('rm /disks/data/other');
    await expect
      .poll(() => operator.report?.disks?.[0]?.capacityBytes, { timeout: 30_000 })
      .toBeGreaterThan(110 * MIB);

    await truncate(file, 48 * MIB);
    await run('losetup', ['--set-capacity', loop]);
    await sees('vdb', 48);
    expect(operator.report?.disks?.[1]).toMatchObject({ capacityBytes: 48 * MIB });
    await launcher.typeIntoConsole('verify /dev/vda 8; verify /dev/vdb 8');
    await launcher.guestSays(/VMSTEAD-VERIFY \/dev\/vda mib=8 same/, 1, 60);
    await launcher.guestSays(/VMSTEAD-VERIFY \/dev\/vdb mib=8 same/, 1, 60);
  } finally {
    await run('losetup', ['--detach', loop]);
  }
});

test('a disk made from an image grows as well', { timeout: 180_000 }, async () => {
  const image = join(folder, 'image');
  await mkdir(image);
  await writeFile(join(image, 'disk.img'), 'base');
  await truncate(join(image, 'disk.img'), 32 * MIB);
  const bytes = 32 * MIB;
  const base = {
    type: 'file',
    path: '/bases/root/disk.img',
    format: 'raw',
    bytes,
    virtualBytes: bytes,
  } as const;
  const root = (mebibytes: number): MachineDisk => ({
    ...fileDisk('root'),
    backend: {
      ...{ type: 'file', path: '/disks/root/disk.qcow2', format: 'qcow2', base },
      create: { maxBytes: mebibytes * MIB },
    },
  });
  await using operator = await TestOperator.start(gateway, folder);
  await using launcher = await start(operator, [root(64)], [`--volume=${image}:/bases/root:ro`]);
  expect(await told(operator, 0)).toMatchObject({ format: 'qcow2', capacityBytes: 64 * MIB });
  operator.send({ type: 'machine', revision: 1, disks: [root(128)] });
  expect(await told(operator, 1)).toMatchObject({ capacityBytes: 128 * MIB });
  await launcher.typeIntoConsole(
    'echo begins $(head -c 4 /dev/vda) has $(($(cat /sys/block/vda/size) / 2048))',
  );
  await launcher.guestSays(/begins base has 128\b/, 1, 60);
});
