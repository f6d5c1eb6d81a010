/** The tiny guest does what the other tests rely on, and its sector judge tells good from bad on real machines. */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { buildTinyGuest, type TinyGuest } from '../../images/guests/build.ts';
import { writeSeed } from '../../launcher/seed/nocloud.ts';
import { cacheDirectory } from '../../setup/paths.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { BareQemu, rootDisk, uefiFirmware } from './support/bare-qemu.ts';

vi.setConfig({ testTimeout: 180_000 });

let guest: TinyGuest;
let folder: string;

beforeAll(async () => {
  guest = await buildTinyGuest(cacheDirectory);
}, 300_000);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vmstead-tiny-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function boot(commandLine: string, ...args: string[]): BareQemu {
  const append = `console=ttyS0 quiet panic=-1 ${commandLine}`.trim();
  return new BareQemu({
    mounts: { [guest.uncompressedKernel]: '/vmlinux', [guest.initrd]: '/initrd.img', [folder]: '/disks' },
    args: ['-kernel', '/vmlinux', '-initrd', '/initrd.img', '-append', append, ...args],
  });
}

/** A raw disk. With `locking=off`, as on storage whose locks are not shared between nodes. */
const disk = (name: string, locking = 'auto') => [
  '-blockdev',
  `{"driver":"raw","node-name":"${name}","file":{"driver":"file","filename":"/disks/${name}","locking":"${locking}"}}`,
  '-device',
  `virtio-blk-pci,drive=${name},serial=${name}`,
];

async function blank(name: string, mebibytes: number): Promise<void> {
  await writeFile(join(folder, name), '');
  await truncate(join(folder, name), mebibytes * 1024 * 1024);
}

describe('the sector sequence', () => {
  test('survives power cuts: nothing acknowledged is lost, one boot follows the other', async () => {
    await blank('ring', 16);
    let log = '';
    for (const found of [/SECTOR-FOUND none/, /SECTOR-FOUND boot_id=\S+ seq=\d+ pos=\d+/]) {
      await using machine = boot('vmstead.sectors=serial:ring vmstead.sectors.report=10', ...disk('ring'));
      await machine.says(found);
      await machine.says(/acked=50 /);
      await machine.kill();
      log += machine.log;
    }
    const ring = await readRing(join(folder, 'ring'));
    const acknowledged = parseAcknowledgements(log);
    expect(acknowledged.length).toBeGreaterThan(10);
    expect(judge(ring, acknowledged)).toEqual([]);
  });

  test('tells when two machines wrote to one disk', async () => {
    await blank('ring', 16);
    await using one = boot('vmstead.sectors=serial:ring', ...disk('ring', 'off'));
    await using other = boot('vmstead.sectors=serial:ring', ...disk('ring', 'off'));
    await Promise.all([one.says(/acked=200 /), other.says(/acked=200 /)]);
    await Promise.all([one.kill(), other.kill()]);
    const problems = judge(await readRing(join(folder, 'ring')), parseAcknowledgements(one.log + other.log));
    expect(problems).not.toEqual([]);
  });

  test('begins from nothing when the disk was replaced, and the judge sees it', async () => {
    await blank('ring', 16);
    await using machine = boot('vmstead.sectors=serial:ring', ...disk('ring'));
    await machine.says(/acked=100 /);
    await machine.kill();
    await blank('ring', 16);
    expect(judge(await readRing(join(folder, 'ring')), parseAcknowledgements(machine.log))).toEqual([
      'The disk is empty although 2 writes were reported as acknowledged.',
    ]);
  });
});

test('says READY=1 on its port, obeys the power button and ends its sector sequence in order', async () => {
  await blank('ring', 16);
  const port = ['-device', 'virtio-serial-pci', '-chardev', 'file,id=r,path=/disks/ready'];
  await using machine = boot(
    'vmstead.sectors=serial:ring',
    ...disk('ring'),
    ...port,
    ...['-device', 'virtserialport,chardev=r,name=io.vmstead.guest.0'],
  );
  await machine.says(/VMSTEAD-GUEST-UP boot_id=[0-9a-f-]{36} uptime=[\d.]+ cpus=1 memory_mib=\d+/);
  await machine.says(/acked=100 /);
  await machine.qmp('system_powerdown');
  await machine.says(/VMSTEAD-POWER-BUTTON \S+ pressed/);
  await machine.says(/VMSTEAD-SECTOR .* final/);
  await machine.says(/VMSTEAD-GUEST-DOWN \S+ reason=power-button/);
  expect(await machine.exited).toBe(0);
  const ring = await readRing(join(folder, 'ring'));
  expect(judge(ring, parseAcknowledgements(machine.log))).toEqual([]);
  expect(await readFile(join(folder, 'ready'), 'utf8')).toBe('READY=1\n');
});

test('ignores the power button when asked to', async () => {
  await using machine = boot('vmstead.power-button=ignore');
  await machine.says(/HEARTBEAT .* seq=0 /);
  await machine.qmp('system_powerdown');
  await machine.says(/VMSTEAD-POWER-BUTTON \S+ ignored/);
  machine.type('echo still $((40 + 2))');
  await machine.says(/still 42/);
});

test('a panic reaches QEMU through pvpanic', async () => {
  await using machine = boot('', ...['-device', 'pvpanic-pci', '-action', 'panic=exit-failure']);
  await machine.says(/HEARTBEAT/);
  machine.type('panic');
  expect(await machine.exited).toBe(1);
});

test('fills and verifies a disk from the console, and reboots as another boot', async () => {
  await blank('data', 8);
  await using machine = boot('', ...disk('data'));
  const [, first] = await machine.says(/GUEST-UP boot_id=(\S+)/);
  await machine.says(/HEARTBEAT/);
  machine.type('fill /dev/vda 4');
  await machine.says(/VMSTEAD-FILL \/dev\/vda mib=4 ok/);
  machine.type('verify /dev/vda 4');
  await machine.says(/VMSTEAD-VERIFY \/dev\/vda mib=4 same/);
  machine.type('verify /dev/vda 5');
  await machine.says(/VMSTEAD-VERIFY \/dev\/vda mib=5 differs/);
  machine.type('probe 127.0.0.1 80');
  await machine.says(/VMSTEAD-PROBE 127\.0\.0\.1 80 open/);
  machine.type('probe 127.0.0.1 81');
  await machine.says(/VMSTEAD-PROBE 127\.0\.0\.1 81 closed/);
  machine.type('reboot');
  await machine.says(/GUEST-DOWN \S+ reason=reboot/);
  const [, second] = await machine.says(/GUEST-UP boot_id=(\S+)/);
  expect(second).not.toBe(first);
});

test.each([
  ['BIOS', { prepare: ':', args: [] }],
  ['UEFI', uefiFirmware],
])('its disk boots from %s', async (_firmware, { prepare, args }) => {
  await using machine = new BareQemu({
    mounts: { [guest.disk]: '/disk.qcow2:ro' },
    prepare: `${prepare}; ${rootDisk.prepare}`,
    args: [...args, ...rootDisk.args],
  });
  await machine.says(/VMSTEAD-GUEST-UP/);
});

test('finds a NoCloud seed, says what is in it and takes its hostname', async () => {
  const userData = '#cloud-config\n{}\n';
  const identity = { instanceId: 'i-7', hostname: 'wonderland' };
  writeSeed(join(folder, 'seed'), { ...identity, userData: { inline: userData } });
  await using machine = boot('', ...disk('seed'));
  const sum = createHash('sha256').update(userData).digest('hex');
  await machine.says(
    new RegExp(
      `VMSTEAD-CLOUD-INIT user-data-sha256=${sum} instance-id=i-7 hostname=wonderland device=/dev/vda`,
    ),
  );
  machine.type('wget -q -O - http://127.0.0.1/');
  await machine.says(/Hello from wonderland/);
});
