/** A guest on the real QEMU finds its disks on every bus, and writes to them in every manner. */
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
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

/** Each disk has a size of its own: by that the guest finds it, whatever the order in which its drivers come. */
const sized = (mebibytes: number, changes: Partial<MachineDisk>): MachineDisk => ({
  ...fileDisk(`d${mebibytes}`, mebibytes * MIB),
  ...changes,
});

/** Has the guest write to and read from the disk of each size, and says what it calls them. */
async function useAll(launcher: Launcher, disks: readonly MachineDisk[]): Promise<string[]> {
  const names: string[] = [];
  for (const { name } of disks) {
    const size = Number(name.slice(1)) * 2048;
    // The driver of a slow bus comes after the guest has said that it is up.
    await launcher.typeIntoConsole(
      `until d=$(grep -lx ${size} /sys/block/*/size); do sleep 0.1; done; d=$(basename $(dirname $d)); fill /dev/$d 2; verify /dev/$d 2; echo ${name} is $d`,
    );
    const device = (await launcher.guestSays(new RegExp(`^${name} is (\\S+)`, 'm'), 1, 60))[0]?.[1] ?? '';
    await launcher.guestSays(new RegExp(`VMSTEAD-VERIFY /dev/${device} mib=2 same`), 1, 60);
    names.push(device.replace(/^(sd).*/, '$1'));
  }
  return names;
}

test('virtio, scsi, sata, nvme and ide in one machine, and an empty drive', {
  timeout: 180_000,
}, async () => {
  const buses = ['virtio', 'scsi', 'sata', 'nvme', 'ide'] as const;
  const disks = buses.map((bus, index) => sized(16 + index, { bus }));
  const { backend: _, ...drive } = fileDisk('cd');
  const empty: MachineDisk = { ...drive, device: 'cdrom', bus: 'sata', readOnly: true };
  await using launcher = await Launcher.start(machine('', { disks: [...disks, empty] }), { guest });
  await launcher.guestSays(UP, 1, 60);
  expect(await useAll(launcher, disks)).toEqual(['vda', 'sd', 'sd', 'nvme0n1', 'sd']);
  await launcher.typeIntoConsole('until [ -b /dev/sr0 ]; do sleep 0.1; done; head -c 1 /dev/sr0');
  await launcher.guestSays(/No medium found/, 1, 60);
});

test('on usb the firmware boots from it', { timeout: 120_000 }, async () => {
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

test('every cache and every kind of asynchronous I/O; discard gives room back, but not that of a preallocated disk', {
  timeout: 180_000,
}, async () => {
  const preallocated = sized(19, {});
  if (preallocated.backend?.type === 'file')
    preallocated.backend.create = { maxBytes: 19 * MIB, preallocate: true };
  const disks = [
    sized(16, { cache: 'writeback', aio: 'threads' }),
    sized(17, { cache: 'writethrough' }),
    sized(18, { aio: 'io_uring' }),
    preallocated,
  ];
  await using launcher = await Launcher.start(machine('', { disks }), { guest });
  await launcher.guestSays(UP, 1, 60);
  const blocks = async (disk = 'd19') =>
    Number(await launcher.sh(`stat -c %b /disks/${disk}/disk.img`)) * 512;
  expect(await blocks()).toBeGreaterThanOrEqual(19 * MIB);
  expect(await useAll(launcher, disks)).toEqual(['vda', 'vdb', 'vdc', 'vdd']);
  for (const thin of ['d16', 'd17', 'd18']) expect(await blocks(thin)).toBeGreaterThanOrEqual(2 * MIB);
  await launcher.typeIntoConsole(
    'cd /sys/block; cat vda/queue/write_cache vdb/queue/write_cache; echo 1 >/proc/sys/vm/drop_caches; for d in a b c d; do blkdiscard /dev/vd$d; done; echo discarded',
  );
  await launcher.guestSays(/write back\s+write through/, 1, 60);
  await launcher.guestSays(/^discarded/m, 1, 60);
  for (const thin of ['d16', 'd17', 'd18'])
    await expect.poll(() => blocks(thin), { timeout: 30_000 }).toBeLessThan(MIB);
  expect(await blocks()).toBeGreaterThanOrEqual(19 * MIB);
});
