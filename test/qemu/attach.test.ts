/**
 * A disk that comes while the machine runs, exported from another container: by a key of its own, past the
 * death of its exporter in the middle of writing, and away again.
 */
import { chmod, copyFile, mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MachineDisk } from '../../crds/machine-description.ts';
import { docker } from '../../images/docker.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { TestOperator } from './support/channel.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const MIB = 1024 * 1024;
const KEY = 'c0ffee'.padEnd(64, '0');
const NETWORK = `vmstead-attach-${process.pid}`;
let gateway: string;
let guest: TinyGuest;
let folder: string;
beforeAll(async () => {
  guest = await tinyGuest();
  folder = await mkdtemp(join(tmpdir(), 'vmstead-attach-'));
  await chmod(folder, 0o755);
  await docker(['network', 'create', '--internal', NETWORK]);
  gateway = (
    await docker(['network', 'inspect', NETWORK, '--format', '{{(index .IPAM.Config 0).Gateway}}'])
  ).trim();
});
afterAll(async () => {
  await docker(['network', 'rm', NETWORK]);
  await rm(folder, { recursive: true, force: true });
});

/** What the attachment pod runs: restricted as a launcher is, with one disk and one key. */
class Exporter implements AsyncDisposable {
  container = '';
  readonly name = `vmstead-exporter-${process.pid}`;

  async start(): Promise<void> {
    const image = process.env.VMSTEAD_QEMU_IMAGE ?? 'vmstead/qemu:dev';
    const disk = {
      driver: 'file',
      'node-name': 'disk',
      filename: '/disk/disk.img',
      locking: 'on',
      discard: 'unmap',
    };
    this.container = (
      await docker([
        ...['run', '--detach', '--rm', `--network=${NETWORK}`, `--name=${this.name}`, '--cap-drop=ALL'],
        ...['--security-opt=no-new-privileges', '--read-only', `--volume=${folder}/psk:/psk:ro`],
        ...[`--volume=${folder}/claim:/disk`, '--entrypoint=qemu-storage-daemon', image],
        ...['--object', 'tls-creds-psk,id=key,endpoint=server,dir=/psk'],
        ...['--blockdev', JSON.stringify({ ...disk, cache: { direct: true } })],
        ...['--nbd-server', 'addr.type=inet,addr.host=0.0.0.0,addr.port=10809,tls-creds=key'],
        ...['--export', 'type=nbd,id=disk,node-name=disk,name=disk,writable=on'],
      ])
    ).trim();
  }

  async kill(): Promise<void> {
    await docker(['kill', '--signal=KILL', this.container]);
    // Until the name is free again.
    while ((await docker(['ps', '--all', '--quiet', '--filter', `name=${this.name}`])) !== '')
      await sleep(50);
  }

  async address(): Promise<string> {
    const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    return `${(await docker(['inspect', '--format', format, this.container])).trim()}:10809`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill().catch(() => {});
  }
}

test('comes, outlives its exporter, and goes; its key is asked for', { timeout: 300_000 }, async () => {
  await mkdir(join(folder, 'claim'));
  await mkdir(join(folder, 'psk'));
  await writeFile(join(folder, 'claim', 'disk.img'), '');
  await truncate(join(folder, 'claim', 'disk.img'), 16 * MIB);
  await writeFile(join(folder, 'psk', 'keys.psk'), `vmstead:${KEY}\n`);
  await chmod(join(folder, 'claim'), 0o777);
  await chmod(join(folder, 'claim', 'disk.img'), 0o666);

  await using exporter = new Exporter();
  await exporter.start();
  await using operator = await TestOperator.start(gateway, folder);
  const { address, serverName, caCertificate } = operator;
  const root = fileDisk('root', 16 * MIB);
  const channel = { addresses: [address], serverName, caCertificate };
  await using launcher = await Launcher.start(machine('', { disks: [root], channel }), {
    guest,
    docker: [`--network=${NETWORK}`],
    prepare: (etc) => copyFile(join(folder, 'token'), join(etc, 'token')),
  });
  await launcher.guestSays(UP, 1, 60);
  await expect.poll(() => operator.report?.disks?.length, { timeout: 30_000 }).toBe(1);
  const ring: MachineDisk = {
    ...fileDisk('ring'),
    backend: { type: 'attached', address: await exporter.address(), export: 'disk' },
  };
  const told = () => operator.report?.disks?.[1];

  // Without the key, and with a wrong one, there is no disk.
  operator.send({ type: 'machine', revision: 1, disks: [root, ring] });
  await expect.poll(() => told()?.problem, { timeout: 30_000 }).toBe('its key has not come yet');
  const other: MachineDisk = { ...ring, name: 'other' };
  operator.send({ type: 'machine', revision: 2, disks: [root, other], keys: { other: '0'.repeat(64) } });
  await expect.poll(() => told()?.problem, { timeout: 30_000 }).toMatch(/TLS handshake failed/);
  operator.send({ type: 'machine', revision: 3, disks: [root, { ...other, unplugged: true }] });
  await expect.poll(() => operator.report?.revision, { timeout: 30_000 }).toBe(3);

  operator.send({ type: 'machine', revision: 4, disks: [root, ring], keys: { ring: KEY } });
  await expect
    .poll(told, { timeout: 30_000 })
    .toEqual({ name: 'ring', format: 'raw', capacityBytes: 16 * MIB });
  await launcher.typeIntoConsole('sectors serial:ring &');
  await launcher.guestSays(/VMSTEAD-SECTOR \S+ acked=\d+/, 1, 60);

  // Gone for a moment: the guest waits. The launcher too is another one afterwards.
  const acked = async () => parseAcknowledgements((await launcher.logs()).guest).length;
  await exporter.kill();
  await launcher.kill('node');
  await sleep(2000);
  await exporter.start();
  let before = await acked();
  await expect.poll(acked, { timeout: 60_000 }).toBeGreaterThan(before);
  // Gone for long: the guest is paused, told so, and goes on by itself.
  await exporter.kill();
  await expect.poll(() => operator.report?.state, { timeout: 60_000 }).toBe('IoError');
  expect(operator.report?.message).toContain('disk ring');
  await exporter.start();
  before = await acked();
  await expect.poll(() => operator.report?.state, { timeout: 60_000 }).toBe('Running');
  await expect.poll(acked, { timeout: 60_000 }).toBeGreaterThan(before);

  await launcher.typeIntoConsole('killall sectors; sleep 1; echo let go');
  await launcher.guestSays(/let go/, 1, 60);
  operator.send({ type: 'machine', revision: 5, disks: [root, { ...ring, unplugged: true }] });
  await expect.poll(told, { timeout: 60_000 }).toEqual({ name: 'ring' });
  await launcher.typeIntoConsole('ls /dev/vdb; echo gone $?');
  await launcher.guestSays(/gone 1/, 1, 60);
  expect(
    judge(
      await readRing(join(folder, 'claim', 'disk.img')),
      parseAcknowledgements((await launcher.logs()).guest),
    ),
  ).toEqual([]);
  expect((await launcher.logs()).guest.match(new RegExp(UP.source, 'g'))).toHaveLength(1);
});
