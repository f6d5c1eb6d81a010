/** Snapshots with and without memory on a real QEMU, and the way back. */
import { copyFile, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { RestoreOrder, SnapshotOrder } from '../../crds/snapshot-order.ts';
import { docker } from '../../images/docker.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { TestOperator } from './support/channel.ts';
import { isolate, release } from './support/isolated.ts';
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
  ({ folder, gateway } = await isolate(NETWORK));
});
afterAll(async () => {
  await release(NETWORK, folder);
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

  /** @param command what supervise runs in place of the launcher */
  async start(changes: Partial<MachineDescription> = {}, command: string[] = []): Promise<Launcher> {
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
      command,
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
      'head -c 67108864 /dev/urandom >/tmp/pattern; echo PATTERN $(sha256sum </tmp/pattern)',
    );
    sum = (await launcher.guestSays(/PATTERN ([0-9a-f]{64})/, 1, 150))[0]![1]!;
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

const LAUNCHER = 'exec node --max-semi-space-size=1 /usr/lib/vmstead/launcher.cjs';
/** The first launcher dies at the first point, the second one at the second, and the one after the last at none. */
const DOOMED = `
died=$(cat /run/vmstead/died 2>/dev/null || echo 0)
echo $((died + 1)) >/run/vmstead/died
if [ "$died" -lt $# ]; then shift "$died"; export VMSTEAD_FAILPOINTS="$1"; fi
${LAUNCHER}`;
/** QEMU dies with the launcher: a power cut at that point. */
const POWER_CUT = `
[ -e /run/vmstead/died ] || { touch /run/vmstead/died; export VMSTEAD_FAILPOINTS="$1"; }
(${LAUNCHER}) && exit 0
code=$?
[ "$code" = 137 ] && for p in /proc/[0-9]*; do
  case "$(tr '\\0' ' ' <$p/cmdline 2>/dev/null)" in qemu-system*) kill -KILL "\${p#/proc/}" ;; esac
done
exit $code`;
const doomed = (...points: string[]) => ['sh', '-c', DOOMED, 'doomed', ...points];
const powerCut = (point: string) => ['sh', '-c', POWER_CUT, 'cut', point];

/** Orders a snapshot of each launcher that comes, until one answers. */
async function insist(home: Home, id: string, take: SnapshotOrder) {
  const { operator } = home;
  for (;;) {
    const before = operator.hellos.length;
    let done = false;
    const another = async () => {
      while (operator.hellos.length === before && !done) await new Promise((go) => setTimeout(go, 50));
      return undefined;
    };
    const answer = await Promise.race([operator.snapshot(id, { take }), another()]);
    done = true;
    if (answer !== undefined) return answer;
  }
}

test(
  'each launcher dies at the next step of a snapshot: the guest goes on, and the snapshot is whole',
  LONG,
  async () => {
    await using home = await Home.make('doomed');
    const points = [
      'layers:made=kill@after',
      'layers:write=kill@after',
      'qmp:migrate=kill@after',
      'qmp:transaction=kill@before',
      'qmp:transaction=kill@after',
      'qmp:migrate-continue=kill@after',
      'snapshot:memory=kill@after',
      'snapshot:complete=kill@before:2',
    ];
    await using launcher = await home.start({}, doomed(...points));
    await up(home, launcher);
    expect(await insist(home, '1', order('s1', { memory: true }))).toEqual({ error: undefined });
    const deaths = () => launcher.heard.launcher.match(/ended with code 137; starting it again/g)?.length;
    await expect.poll(deaths, { timeout: 60_000 }).toBe(points.length);
    await expect
      .poll(() => home.operator.report, { timeout: 60_000 })
      .toMatchObject({ state: 'Running', snapshots: [{ uid: 's1', memory: {} }] });
    const beat = lastBeat(launcher);
    await expect.poll(() => lastBeat(launcher), { timeout: 30_000 }).toBeGreaterThan(beat + 3);
    // What the snapshots that failed left is merged: the frozen layer, and the one that is written to.
    await expect.poll(async () => (await home.files()).length, { timeout: 90_000 }).toBe(3);
    expect((await launcher.stop(30)).message).toMatchObject({ result: 'Stopped' });
    expect(launcher.heard.guest.match(new RegExp(UP, 'g'))).toHaveLength(1);
    expect(judge(await home.ring(), parseAcknowledgements(launcher.heard.guest))).toEqual([]);
  },
);

test('power cuts at the steps of a snapshot and of a restore, then damage', LONG, async () => {
  await using home = await Home.make('cuts');
  let said = '';
  {
    // Right after QEMU changed to the new layers: what is acknowledged from then on is in them.
    await using launcher = await home.start({}, powerCut('qmp:transaction=kill@after'));
    await up(home, launcher);
    void home.operator.snapshot('1', { take: order('s1') });
    expect((await launcher.ended(60)).message).toMatchObject({ result: 'QemuKilled' });
    said += launcher.heard.guest;
    expect(judge(await home.ring(), parseAcknowledgements(said))).toEqual([]);
  }
  {
    await using launcher = await home.start();
    await up(home, launcher);
    expect(home.operator.report?.snapshots, 'it was never complete').toEqual([]);
    expect(await home.operator.snapshot('2', { take: order('s2') })).toEqual({ error: undefined });
    const sums = () => home.operator.report?.snapshots?.[0]?.disks.map(({ sha256 }) => sha256 !== undefined);
    await expect.poll(sums, { timeout: 60_000 }).toEqual([true, true]);
    expect(await home.operator.snapshot('3', { take: order('s3') })).toEqual({ error: undefined });
    await expect
      .poll(() => home.operator.report?.snapshots?.every(({ disks }) => disks.every((each) => each.sha256)), {
        timeout: 60_000,
      })
      .toBe(true);
    expect((await launcher.stop(30)).message).toMatchObject({ result: 'Stopped' });
    said += launcher.heard.guest;
    expect(judge(await home.ring(), parseAcknowledgements(said))).toEqual([]);
  }
  // One bit of the layer that belongs to the newer snapshot alone.
  const list = JSON.parse(await readFile(join(home.disks, 'data', 'layers.json'), 'utf8')) as {
    snapshots: { uid: string; layer: string }[];
  };
  const layer = list.snapshots.find(({ uid }) => uid === 's3')!.layer;
  await docker([
    ...[
      'run',
      '--rm',
      '--user=0',
      '--volume',
      `${join(home.disks, 'data')}:/d`,
      '--entrypoint=sh',
      'vmstead/qemu:dev',
      '-c',
    ],
    `printf 'X' | dd of=/d/${layer} bs=1 seek=400000 conv=notrunc status=none`,
  ]);
  const before = await readFile(join(home.disks, 'data', 'layers.json'), 'utf8');
  {
    const restore: RestoreOrder = {
      uid: 'r1',
      snapshots: [{ uid: 's3', name: 'c' }],
      memory: 'IncludeIfThere',
    };
    await using launcher = await home.start({ restore });
    const { exitCode, message } = await launcher.ended(60);
    expect([exitCode, message.result]).toEqual([72, 'SnapshotUnusable']);
    expect(message.message).toContain(`layer ${layer} of disk data is damaged`);
    expect(await readFile(join(home.disks, 'data', 'layers.json'), 'utf8')).toBe(before);
  }
  const snapshots = [
    { uid: 's3', name: 'c' },
    { uid: 's2', name: 'b' },
  ];
  const restore: RestoreOrder = { uid: 'r2', snapshots, memory: 'IncludeIfThere' };
  // Between the first disk and the second one.
  await using launcher = await home.start({ restore }, doomed('restore:disk=kill@after'));
  await up(home, launcher);
  expect(home.operator.report?.restored).toMatchObject({ uid: 'r2', snapshot: { uid: 's2' }, memory: false });
  for (const disk of ['data', 'more']) {
    const tree = JSON.parse(await readFile(join(home.disks, disk, 'layers.json'), 'utf8')) as object;
    expect(tree).toMatchObject({ restored: { uid: 'r2' } });
    expect(tree).not.toHaveProperty('intent');
  }
});
