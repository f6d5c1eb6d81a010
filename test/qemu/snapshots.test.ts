/** Snapshots with and without memory on a real QEMU, and the way back. */
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { RestoreOrder, SnapshotOrder } from '../../crds/snapshot-order.ts';
import { docker } from '../../images/docker.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { TestOperator } from './support/channel.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const WRITES = /VMSTEAD-SECTOR boot_id=(\S+) acked=(\d+)/;
const BEAT = /VMSTEAD-HEARTBEAT boot_id=(\S+) seq=(\d+)/;
const NETWORK = `vmstead-snapshots-${process.pid}`;
const LONG = { timeout: 240_000 };

let guest: TinyGuest;
let folder: string;
let gateway: string;

beforeAll(async () => {
  guest = await tinyGuest();
  folder = await mkdtemp(join(tmpdir(), 'vmstead-snapshots-'));
  await docker(['network', 'create', '--internal', NETWORK]);
  const format = '{{(index .IPAM.Config 0).Gateway}}';
  gateway = (await docker(['network', 'inspect', NETWORK, '--format', format])).trim();
});
afterAll(async () => {
  await docker(['network', 'rm', NETWORK]);
  await rm(folder, { recursive: true, force: true });
});

const order = (uid: string, changes: Partial<SnapshotOrder> = {}): SnapshotOrder => ({
  uid,
  name: `snapshot-${uid}`,
  memory: false,
  quiesce: 'Auto',
  deadlineSeconds: 60,
  ...changes,
});

/** A VM that lives through several pods: its disks and its state stay. */
class Home implements AsyncDisposable {
  readonly operator: TestOperator;
  readonly disks: string;
  readonly state: string;
  private readonly etc: string;
  private incarnation = 0;

  private constructor(operator: TestOperator, root: string) {
    this.operator = operator;
    this.disks = join(root, 'disks');
    this.state = join(root, 'state');
    this.etc = root;
  }

  static async make(name: string): Promise<Home> {
    const root = join(folder, name);
    const home = new Home(await TestOperator.start(gateway, root), root);
    await mkdir(home.disks, { recursive: true });
    return home;
  }

  async start(
    changes: Partial<MachineDescription> = {},
    env: Record<string, string> = {},
  ): Promise<Launcher> {
    const { address, serverName, caCertificate } = this.operator;
    this.operator.report = undefined;
    const writer = 'vmstead.sectors=serial:data vmstead.sectors.slots=512 vmstead.sectors.report=20';
    const description = machine(`${writer} vmstead.heartbeat=0.2`, {
      incarnation: ++this.incarnation,
      memoryMiB: 256,
      disks: [fileDisk('data'), fileDisk('more')],
      channel: { addresses: [address], serverName, caCertificate },
      ...changes,
    });
    return await Launcher.start(description, {
      guest,
      disks: this.disks,
      env,
      state: this.state,
      docker: [`--network=${NETWORK}`],
      prepare: (etc) => copyFile(join(this.etc, 'token'), join(etc, 'token')),
    });
  }

  async files(disk = 'data'): Promise<string[]> {
    return (await readdir(join(this.disks, disk))).sort();
  }

  /** What is on a disk, all layers together, as qemu-img sees it. */
  async ring(disk = 'data') {
    const list = JSON.parse(await readFile(join(this.disks, disk, 'layers.json'), 'utf8')) as {
      active: string;
    };
    await docker([
      ...[
        'run',
        '--rm',
        '--user=0',
        '--volume',
        `${join(this.disks, disk)}:/d`,
        '--entrypoint=qemu-img',
        'vmstead/qemu:dev',
      ],
      ...['convert', '-O', 'raw', `/d/${list.active}`, '/d/whole.raw'],
    ]);
    const ring = await readRing(join(this.disks, disk, 'whole.raw'));
    await rm(join(this.disks, disk, 'whole.raw'));
    return ring;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.operator[Symbol.asyncDispose]();
  }
}

async function up(home: Home, launcher: Launcher): Promise<string> {
  const [found] = await launcher.guestSays(UP, 1, 60);
  await launcher.guestSays(WRITES, 1, 30);
  await expect.poll(() => home.operator.report, { timeout: 60_000 }).toMatchObject({ state: 'Running' });
  return found![1]!;
}

const lastBeat = (launcher: Launcher): number =>
  Number([...launcher.heard.guest.matchAll(new RegExp(BEAT, 'g'))].at(-1)?.[2] ?? -1);

test('with memory: the guest goes on exactly where it was, after a kill', LONG, async () => {
  await using home = await Home.make('memory');
  let boot: string;
  let beat: number;
  let sum: string;
  let before: string;
  {
    await using launcher = await home.start();
    boot = await up(home, launcher);
    await launcher.typeIntoConsole(
      'head -c 64M /dev/urandom >/tmp/pattern; echo PATTERN $(sha256sum </tmp/pattern)',
    );
    sum = (await launcher.guestSays(/PATTERN ([0-9a-f]{64})/, 1, 60))[0]![1]!;
    expect(await home.operator.snapshot('1', { take: order('s1', { memory: true }) })).toEqual({
      error: undefined,
    });
    beat = lastBeat(launcher);
    expect(home.operator.report).toMatchObject({
      state: 'Running',
      snapshots: [{ uid: 's1', frozen: false }],
    });
    const { pause, memory } = home.operator.report!.snapshots![0]!;
    console.log(`pause ${pause} ms, memory file ${memory!.bytes >> 20} MiB`);
    expect(pause).toBeGreaterThan(0);
    expect(pause).toBeLessThan(1000);
    // The same again is no error, and no second snapshot.
    expect(await home.operator.snapshot('2', { take: order('s1', { memory: true }) })).toEqual({
      error: undefined,
    });
    expect(home.operator.report?.snapshots).toHaveLength(1);
    await expect
      .poll(() => home.operator.report?.snapshots?.[0], { timeout: 60_000 })
      .toMatchObject({
        memory: { sha256: expect.any(String) },
        disks: [
          { name: 'data', sha256: expect.any(String) },
          { name: 'more', sha256: expect.any(String) },
        ],
      });
    await launcher.guestSays(BEAT, beat + 10);
    await launcher.kill('qemu-system-x86_64');
    await launcher.ended();
    before = launcher.heard.guest;
  }
  expect(await home.files()).toEqual(['disk.1.qcow2', 'disk.img', 'layers.json']);

  const restore: RestoreOrder = { uid: 'r1', snapshots: [{ uid: 's1', name: 'a' }], memory: 'Include' };
  await using launcher = await home.start({ restore });
  await expect
    .poll(() => home.operator.report, { timeout: 60_000 })
    .toMatchObject({ state: 'Running', restored: { uid: 'r1', snapshot: { uid: 's1' }, memory: true } });
  const [next] = await launcher.guestSays(BEAT, 1, 30);
  expect(next![1]).toBe(boot);
  // On the beat: no later than the guest had come when the snapshot was there, and not from the beginning.
  expect(Number(next![2])).toBeGreaterThan(3);
  expect(Number(next![2])).toBeLessThanOrEqual(beat + 1);
  await launcher.typeIntoConsole('echo AGAIN $(sha256sum </tmp/pattern)');
  expect((await launcher.guestSays(/AGAIN ([0-9a-f]{64})/, 1, 60))[0]![1]).toBe(sum);
  expect(launcher.heard.guest).not.toMatch(UP);
  await launcher.guestSays(WRITES, 3, 30);
  await launcher.typeIntoConsole('poweroff');
  expect((await launcher.ended(60)).message).toMatchObject({ result: 'GuestPowerOff' });
  // The disk's history is one: what was written before the snapshot, and what the restored guest wrote.
  const first = Number([...launcher.heard.guest.matchAll(new RegExp(WRITES, 'g'))][0]![2]);
  const kept = parseAcknowledgements(before).filter(({ sequence }) => sequence < BigInt(first));
  expect(judge(await home.ring(), [...kept, ...parseAcknowledgements(launcher.heard.guest)])).toEqual([]);
});
