/** The full guest is the real distribution that the other tests take it for: from both firmwares to its power-off. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildFullGuest, type FullGuest } from '../../images/guests/build.ts';
import { writeSeed } from '../../launcher/seed/nocloud.ts';
import { cacheDirectory } from '../../setup/paths.ts';
import { BareQemu, rootDisk, uefiFirmware } from './support/bare-qemu.ts';

/** cloud-init under emulation, on a machine that has other things to do. */
const BOOT = 300_000;

const userData = `#cloud-config
users:
- name: alice
  sudo: ["ALL=(ALL) NOPASSWD:ALL"]
  shell: /bin/sh
  plain_text_passwd: wonder
  lock_passwd: false
runcmd:
- [sh, -c, 'echo RUNCMD user=$(id -un alice) host=$(hostname) failed=$(systemctl list-units --failed --no-legend | wc -l) > /dev/console']
`;

let guest: FullGuest;
let folder: string;

beforeAll(async () => {
  guest = await buildFullGuest(cacheDirectory);
  folder = await mkdtemp(join(tmpdir(), 'vmstead-full-'));
  const identity = { instanceId: 'i-1', hostname: 'wonderland' };
  writeSeed(join(folder, 'seed.iso'), { ...identity, userData: { inline: userData } });
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

test.each([
  ['BIOS', { prepare: ':', args: [] }],
  ['UEFI', uefiFirmware],
])(
  'boots from %s, takes its cloud-init, answers by agent and ssh, powers off when told to',
  async (firmware, { prepare, args }) => {
    await using machine = new BareQemu({
      memoryMiB: 768,
      mounts: { [guest.disk]: '/disk.qcow2:ro', [folder]: '/seed:ro' },
      prepare: `${prepare}; ${rootDisk.prepare}`,
      args: [
        ...[...args, ...rootDisk.args],
        '-blockdev',
        '{"driver":"raw","node-name":"seed","read-only":true,"file":{"driver":"file","filename":"/seed/seed.iso"}}',
        ...['-device', 'virtio-blk-pci,drive=seed'],
        ...['-netdev', 'user,id=net,hostfwd=tcp:127.0.0.1:2222-:22', '-device', 'virtio-net-pci,netdev=net'],
        ...['-device', 'virtio-serial-pci', '-chardev', 'socket,id=agent,path=/tmp/agent,server=on,wait=off'],
        ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
      ],
    });
    await machine.says(/RUNCMD user=alice host=wonderland failed=0/, BOOT);
    await machine.says(/wonderland login:/, BOOT);
    expect(await machine.ask('/tmp/agent', ['{"execute":"guest-ping"}'], 1)).toBe('{"return": {}}');
    expect(await machine.ask('2222', [], 1)).toMatch(/^SSH-2\.0-OpenSSH/);

    if (firmware === 'UEFI') await logInAndReboot(machine);

    const start = Date.now();
    await machine.qmp('system_powerdown');
    expect(await machine.exited).toBe(0);
    expect(Date.now() - start).toBeLessThan(30_000);
  },
  3 * BOOT,
);

async function logInAndReboot(machine: BareQemu): Promise<void> {
  machine.type('alice');
  await machine.says(/Password:/, BOOT);
  machine.type('wonder');
  await machine.says(/\$ $/, BOOT);
  machine.type('sudo id -u; cat /sys/firmware/efi/fw_platform_size; echo END');
  await machine.says(/\n0\s+64\s+END/, BOOT);
  machine.type('sudo reboot');
  await machine.says(/wonderland login:/, BOOT);
  expect(machine.log.match(/RUNCMD/g)).toHaveLength(1); // once per instance, not per boot
}
