/** A guest on the real QEMU finds its disk on every bus, and boots from it where it has no driver of its own. */
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MachineDisk } from '../../crds/machine-description.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const MIB = 1024 * 1024;

let guest: TinyGuest;
let folder: string;
beforeAll(async () => {
  guest = await tinyGuest();
  folder = await mkdtemp(join(tmpdir(), 'vmstead-buses-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Where Linux puts the first disk of a bus. */
const DEVICE = {
  virtio: '/dev/vda',
  scsi: '/dev/sda',
  sata: '/dev/sda',
  nvme: '/dev/nvme0n1',
  ide: '/dev/sda',
} as const;

describe.each(Object.entries(DEVICE))('on %s', (bus, device) => {
  test('a disk is written and read', { timeout: 120_000 }, async () => {
    const data = { ...fileDisk('data', 32 * MIB), bus: bus as keyof typeof DEVICE };
    await using launcher = await Launcher.start(machine('', { disks: [data] }), { guest });
    await launcher.guestSays(UP, 1, 60);
    // The driver of a slow bus comes after the guest has said that it is up.
    await launcher.typeIntoConsole(
      `until [ -b ${device} ]; do sleep 0.1; done; fill ${device} 2; verify ${device} 2`,
    );
    await launcher.guestSays(new RegExp(`VMSTEAD-VERIFY ${device} mib=2 same`), 1, 60);
  });
});

test('on usb: the firmware boots from it', { timeout: 120_000 }, async () => {
  const disks = join(folder, 'usb');
  await mkdir(join(disks, 'root'), { recursive: true });
  await copyFile(guest.disk, join(disks, 'root', 'disk.qcow2'));
  const root: MachineDisk = {
    ...fileDisk('root'),
    bus: 'usb',
    bootIndex: 1,
    readOnly: true,
    backend: { type: 'file', path: '/disks/root/disk.qcow2', format: 'qcow2' },
  };
  const { kernel: _, ...description } = machine('', { disks: [root], memoryMiB: 256 });
  await using launcher = await Launcher.start(description, { guest, disks });
  await launcher.guestSays(UP, 1, 100);
});

describe('manners of writing', () => {
  const manners: Partial<MachineDisk>[] = [
    { cache: 'writeback', aio: 'threads' },
    { cache: 'writethrough' },
    { aio: 'io_uring' },
  ];
  test.each(manners)('%o', { timeout: 120_000 }, async (manner) => {
    const data = { ...fileDisk('data', 32 * MIB), ...manner };
    await using launcher = await Launcher.start(machine('', { disks: [data] }), { guest });
    await launcher.guestSays(UP, 1, 60);
    await launcher.typeIntoConsole(
      'cat /sys/block/vda/queue/write_cache; fill /dev/vda 2; verify /dev/vda 2',
    );
    await launcher.guestSays(manner.cache === 'writethrough' ? /write through/ : /write back/, 1, 60);
    await launcher.guestSays(/VMSTEAD-VERIFY \/dev\/vda mib=2 same/, 1, 60);
  });

  test('preallocated: all of its room is taken, and stays taken', { timeout: 120_000 }, async () => {
    const data: MachineDisk = {
      ...fileDisk('data'),
      backend: {
        type: 'file',
        path: '/disks/data/disk.img',
        format: 'raw',
        create: { maxBytes: 32 * MIB, preallocate: true },
      },
    };
    await using launcher = await Launcher.start(machine('', { disks: [data] }), { guest });
    await launcher.guestSays(UP, 1, 60);
    const blocks = async () => Number(await launcher.sh('stat -c %b /disks/data/disk.img')) * 512;
    expect(await blocks()).toBeGreaterThanOrEqual(32 * MIB);
    await launcher.typeIntoConsole('blkdiscard /dev/vda; fill /dev/vda 1');
    await launcher.guestSays(/VMSTEAD-FILL \/dev\/vda mib=1 ok/, 1, 60);
    expect(await blocks()).toBeGreaterThanOrEqual(32 * MIB);
  });
});

test('an empty CD-ROM drive is there', { timeout: 120_000 }, async () => {
  const { backend: _, ...drive } = {
    ...fileDisk('cd'),
    device: 'cdrom' as const,
    bus: 'sata' as const,
    readOnly: true,
  };
  await using launcher = await Launcher.start(machine('', { disks: [drive] }), { guest });
  await launcher.guestSays(UP, 1, 60);
  await launcher.typeIntoConsole(
    'until [ -b /dev/sr0 ]; do sleep 0.1; done; echo drive $(cat /sys/block/sr0/size)',
  );
  await launcher.guestSays(/drive \d+/, 1, 60);
});
