/**
 * A disk that comes while the machine runs, exported from another container: by a key of its own, past the
 * death of its exporter in the middle of writing, and away again.
 */
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ATTACHMENT_COMMAND, ATTACHMENT_PORT, type AttachmentJob } from '../../crds/attachment.ts';
import type { MachineDisk } from '../../crds/machine-description.ts';
import { docker } from '../../images/docker.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { TestOperator } from './support/channel.ts';
import { isolate, release } from './support/isolated.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const MIB = 1024 * 1024;
const IMAGE = process.env.VMSTEAD_LAUNCHER_IMAGE ?? 'vmstead/launcher:dev';
const [KEY, OTHER_KEY] = ['c0ffee'.padEnd(64, '0'), 'decaf'.padEnd(64, '0')] as const;
const NETWORK = `vmstead-attach-${process.pid}`;
const job: AttachmentJob = {
  version: 1,
  vm: { namespace: 'default', name: 'test', uid: '0b54a53e-0000-4000-8000-000000000001' },
  attempt: 1,
  disk: fileDisk('ring', 16 * MIB),
  channel: undefined,
};
let gateway: string;
let guest: TinyGuest;
let folder: string;
beforeAll(async () => {
  guest = await tinyGuest();
  ({ folder, gateway } = await isolate(NETWORK));
  await chmod(folder, 0o755);
});
afterAll(async () => {
  await release(NETWORK, folder);
});

/** An attachment pod's program in its container: restricted as a launcher is, with one disk and one key. */
class Exporter implements AsyncDisposable {
  readonly container: string;
  private readonly run: string;

  private constructor(container: string, run: string) {
    this.container = container;
    this.run = run;
  }

  static async start(name: string, key: string): Promise<Exporter> {
    const run = join(folder, `run-${name}`);
    await mkdir(run);
    await chmod(run, 0o777);
    // As the operator's word is kept there.
    await writeFile(join(run, 'export.json'), JSON.stringify({ name, key }));
    await writeFile(join(run, 'job.json'), JSON.stringify(job));
    const env = [`VMSTEAD_RUN=/run/vmstead`, 'VMSTEAD_JOB=/run/vmstead/job.json'];
    const [program = '', ...args] = ATTACHMENT_COMMAND;
    const container = await docker([
      ...['run', '--detach', `--network=${NETWORK}`, '--cap-drop=ALL', '--security-opt=no-new-privileges'],
      ...['--read-only', `--volume=${run}:/run/vmstead`, `--volume=${folder}/claim:/disks/ring`],
      ...env.map((each) => `--env=${each}`),
      ...['--env=VMSTEAD_TERMINATION_LOG=/run/vmstead/ended', `--entrypoint=${program}`, IMAGE, ...args],
    ]);
    const exporter = new Exporter(container.trim(), run);
    const pid = () => readFile(join(run, 'exporter.pid'), 'utf8').catch(() => '');
    await expect.poll(pid, { timeout: 60_000, message: 'the disk can be reached' }).not.toBe('');
    return exporter;
  }

  async killDaemon(): Promise<void> {
    await docker(['exec', this.container, 'sh', '-c', 'kill -9 $(cat /run/vmstead/exporter.pid)']);
  }

  async signal(name: 'KILL' | 'TERM'): Promise<void> {
    await docker(['kill', `--signal=${name}`, this.container]);
  }

  async isRunning(): Promise<boolean> {
    return (await docker(['inspect', '--format', '{{.State.Running}}', this.container])).trim() === 'true';
  }

  /** As the kubelet reads it. */
  async lastWord(): Promise<unknown> {
    return JSON.parse(await readFile(join(this.run, 'ended'), 'utf8'));
  }

  async address(): Promise<string> {
    const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    return `${(await docker(['inspect', '--format', format, this.container])).trim()}:${ATTACHMENT_PORT}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await docker(['rm', '--force', this.container]);
  }
}

test('comes, outlives its exporter, and goes; its key is asked for', { timeout: 300_000 }, async () => {
  await mkdir(join(folder, 'claim'));
  await chmod(join(folder, 'claim'), 0o777);
  await using first = await Exporter.start('first', KEY);
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
  const through = async (exporter: Exporter, name: string): Promise<MachineDisk> => ({
    ...fileDisk('ring'),
    backend: { type: 'attached', address: await exporter.address(), export: name },
  });
  const ring = await through(first, 'first');
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
  const acked = async () => parseAcknowledgements((await launcher.logs()).guest).length;
  const goesOn = async () => {
    const before = await acked();
    await expect.poll(acked, { timeout: 60_000 }).toBeGreaterThan(before);
  };

  // Killed, it is there again at once, and the guest waits. The launcher too is another one afterwards.
  await first.killDaemon();
  await launcher.kill('node');
  await goesOn();
  // Whoever asks it to end waits for the machine.
  await first.signal('TERM');
  await goesOn();
  expect(await first.isRunning()).toBe(true);

  // Its pod is gone: the guest is paused and told so, and goes on through another pod with another key.
  await first.signal('KILL');
  await expect.poll(() => operator.report?.state, { timeout: 60_000 }).toBe('IoError');
  expect(operator.report?.message).toContain('disk ring');
  await using second = await Exporter.start('second', OTHER_KEY);
  const moved = await through(second, 'second');
  operator.send({ type: 'machine', revision: 5, disks: [root, moved], keys: { ring: OTHER_KEY } });
  await expect.poll(() => operator.report?.state, { timeout: 60_000 }).toBe('Running');
  await goesOn();
  expect(told()).toEqual({ name: 'ring', format: 'raw', capacityBytes: 16 * MIB });

  await second.signal('TERM');
  await launcher.typeIntoConsole('killall sectors; sleep 1; echo let go');
  await launcher.guestSays(/let go/, 1, 60);
  expect(await second.isRunning()).toBe(true);
  operator.send({ type: 'machine', revision: 6, disks: [root, { ...moved, unplugged: true }] });
  await expect.poll(told, { timeout: 60_000 }).toEqual({ name: 'ring' });
  await launcher.typeIntoConsole('ls /dev/vdb; echo gone $?');
  await launcher.guestSays(/gone 1/, 1, 60);
  await expect.poll(() => second.isRunning(), { timeout: 30_000 }).toBe(false);
  expect(await second.lastWord()).toMatchObject({ result: 'Stopped' });
  expect(
    judge(
      await readRing(join(folder, 'claim', 'disk.img')),
      parseAcknowledgements((await launcher.logs()).guest),
    ),
  ).toEqual([]);
  expect((await launcher.logs()).guest.match(new RegExp(UP.source, 'g'))).toHaveLength(1);
});
