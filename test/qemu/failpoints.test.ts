/**
 * A launcher that kills itself before and after each command that it gives QEMU, and before and after it starts
 * QEMU. In one life of a VM each launcher dies at the next point of a list, so that every one has to take over
 * what the one before left, and has to come further than it.
 */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CommandName } from '../../crds/channel.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import { docker } from '../../images/docker.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { TestOperator } from './support/channel.ts';
import { type Ended, fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const WRITES = /VMSTEAD-SECTOR boot_id=\S+ acked=(\d+)/;
const HEARTBEAT = /VMSTEAD-HEARTBEAT/;
const NETWORK = `vmstead-failpoints-${process.pid}`;

let guest: TinyGuest;
let folder: string;
let gateway: string;

beforeAll(async () => {
  guest = await tinyGuest();
  folder = await mkdtemp(join(tmpdir(), 'vmstead-failpoints-'));
  await docker(['network', 'create', '--internal', NETWORK]);
  const format = '{{(index .IPAM.Config 0).Gateway}}';
  gateway = (await docker(['network', 'inspect', NETWORK, '--format', format])).trim();
});
afterAll(async () => {
  await docker(['network', 'rm', NETWORK]);
  await rm(folder, { recursive: true, force: true });
});

/** Each point before and after. */
const around = (...points: string[]): string[] =>
  points.flatMap((point) => [`${point}=kill@before`, `${point}=kill@after`]);

/** Gives the first launcher the first failpoint, the second one the second, and the one after the last none. */
const ARMED = `
died=$(cat /run/vmstead/died 2>/dev/null || echo 0)
echo $((died + 1)) >/run/vmstead/died
if [ "$died" -lt $# ]; then shift "$died"; export VMSTEAD_FAILPOINTS="$1"; fi
exec node --max-semi-space-size=1 /usr/lib/vmstead/launcher.cjs`;

class DoomedLaunchers implements AsyncDisposable {
  readonly launcher: Launcher;
  readonly failpoints: string[];

  private constructor(launcher: Launcher, failpoints: string[]) {
    this.launcher = launcher;
    this.failpoints = failpoints;
  }

  static async start(
    failpoints: string[],
    commandLine = '',
    changes: Partial<MachineDescription> = {},
    options: Partial<Parameters<typeof Launcher.start>[1]> = {},
  ): Promise<DoomedLaunchers> {
    const writer =
      'vmstead.sectors=serial:data vmstead.sectors.slots=512 vmstead.sectors.report=20 vmstead.heartbeat=0.5';
    const launcher = await Launcher.start(
      machine(`${writer} ${commandLine}`, { disks: [fileDisk('data')], ...changes }),
      { guest, command: ['sh', '-c', ARMED, 'armed', ...failpoints], ...options },
    );
    return new DoomedLaunchers(launcher, failpoints);
  }

  async deaths(): Promise<number> {
    const { launcher } = await this.launcher.logs();
    return launcher.match(/the launcher ended with code 137; starting it again/g)?.length ?? 0;
  }

  async untilDeaths(count = this.failpoints.length): Promise<void> {
    await expect.poll(() => this.deaths(), { timeout: 45_000 }).toBe(count);
  }

  /** The guest boots, and writes to its disk. */
  async untilWriting(): Promise<void> {
    await this.launcher.guestSays(UP, 1, 60);
    await this.launcher.guestSays(WRITES, 1, 30);
  }

  /** Every failpoint was hit once, the guest had so many boots, and its disk holds all that it wrote. */
  async check(ended: Ended, boots = 1): Promise<Ended> {
    expect(await this.deaths(), 'failpoints that were hit').toBe(this.failpoints.length);
    const { guest: log } = await this.launcher.logs();
    expect(log.match(new RegExp(UP, 'g')), 'boots').toHaveLength(boots);
    const ring = await readRing(join(this.launcher.disks, 'data', 'disk.img'));
    expect(judge(ring, parseAcknowledgements(log))).toEqual([]);
    return ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.launcher[Symbol.asyncDispose]();
  }
}

const LONG = { timeout: 150_000 };

describe.concurrent('the launcher kills itself around', () => {
  test.for([
    [['qemu:spawn', 'qmp:qmp_capabilities']],
    [['qmp:query-status', 'qmp:query-version']],
    [['qmp:query-named-block-nodes', 'qmp:query-chardev']],
  ])('%s of a start: one QEMU, one boot', LONG, async ([points]) => {
    await using doomed = await DoomedLaunchers.start(around(...points!));
    const { launcher } = doomed;
    await doomed.untilDeaths();
    await doomed.untilWriting();
    expect(await launcher.qemus()).toBe(1);
    await expect
      .poll(() => launcher.life(), { timeout: 10_000 })
      .toMatchObject({ restarts: 4, guestReady: 'Signal' });
    expect(await doomed.check(await launcher.stop(40))).toMatchObject({
      exitCode: 0,
      message: { result: 'Stopped' },
    });
  });

  test('cont and system_powerdown of a stop: the guest powers itself off', LONG, async () => {
    await using doomed = await DoomedLaunchers.start(around('qmp:cont', 'qmp:system_powerdown'));
    await doomed.untilWriting();
    expect(await doomed.check(await doomed.launcher.stop(60))).toMatchObject({
      exitCode: 0,
      message: { result: 'Stopped' },
    });
  });

  test.for([
    ['Stopped', 0, '', 30],
    ['StoppedForced', 64, 'vmstead.power-button=ignore', 3],
  ] as const)('quit of a stop: %s', LONG, async ([result, exitCode, commandLine, grace]) => {
    await using doomed = await DoomedLaunchers.start(around('qmp:quit'), commandLine, {
      terminationGracePeriodSeconds: grace,
    });
    await doomed.untilWriting();
    // The kubelet's own patience is longer than the launcher's.
    expect(await doomed.check(await doomed.launcher.stop(60))).toMatchObject({
      exitCode,
      message: { result },
    });
  });

  test.for([
    ['GuestPowerOff', 0, 'poweroff'],
    ['GuestPanic', 65, 'panic'],
  ] as const)('quit after the guest’s own end: %s', LONG, async ([result, exitCode, typed]) => {
    await using doomed = await DoomedLaunchers.start(around('qmp:quit'));
    await doomed.untilWriting();
    await doomed.launcher.typeIntoConsole(typed);
    expect(await doomed.check(await doomed.launcher.ended(60))).toMatchObject({
      exitCode,
      message: { result },
    });
  });

  test('cont after a full disk: the guest goes on, and lost nothing', LONG, async () => {
    await using doomed = await DoomedLaunchers.start(
      around('qmp:cont'),
      '',
      {},
      {
        docker: ['--tmpfs=/disks/data:mode=1777,size=64m'],
      },
    );
    const { launcher } = doomed;
    // The ring lies within what is filled: it is judged by what is read back instead.
    await doomed.untilWriting();
    await launcher.sh('head -c 55M /dev/zero | tr "\\0" x >/disks/data/other');
    await launcher.typeIntoConsole('fill /dev/vda 24');
    await expect
      .poll(() => launcher.life(), { timeout: 60_000 })
      .toMatchObject({ ioError: { disk: 0, noSpace: true } });
    await launcher.sh('rm /disks/data/other');
    await doomed.untilDeaths();
    await launcher.guestSays(/VMSTEAD-FILL \/dev\/vda mib=24 ok/, 1, 60);
    expect((await launcher.stop(40)).message).toMatchObject({ result: 'Stopped' });
  });
});

/** Sends a command again to each launcher that comes, as the operator does, until one answers. */
async function insist(operator: TestOperator, id: string, name: CommandName) {
  for (;;) {
    const before = operator.hellos.length;
    let done = false;
    const another = async () => {
      while (operator.hellos.length === before && !done) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return undefined;
    };
    const answer = await Promise.race([operator.command(id, name), another()]);
    done = true;
    if (answer !== undefined) return answer;
  }
}

describe.concurrent('the launcher kills itself around what a person asks for', () => {
  async function connected(name: string, failpoints: string[], commandLine = '') {
    const own = join(folder, name);
    const operator = await TestOperator.start(gateway, own);
    const { address, serverName, caCertificate } = operator;
    const doomed = await DoomedLaunchers.start(
      failpoints,
      commandLine,
      { channel: { addresses: [address], serverName, caCertificate } },
      {
        docker: [`--network=${NETWORK}`],
        prepare: (etc) => copyFile(join(own, 'token'), join(etc, 'token')),
      },
    );
    await doomed.untilWriting();
    await expect.poll(() => operator.report, { timeout: 30_000 }).toMatchObject({ state: 'Running' });
    return { operator, doomed };
  }

  test('stop and cont: Pause pauses, Resume resumes, whoever died meanwhile', LONG, async () => {
    const { operator: anOperator, doomed: theDoomed } = await connected(
      'pause',
      around('qmp:stop', 'qmp:cont'),
    );
    await using operator = anOperator;
    await using doomed = theDoomed;
    const { launcher } = doomed;
    expect(await insist(operator, 'op-1', 'pause')).toEqual({ error: undefined });
    await doomed.untilDeaths(2);
    expect(operator.report).toMatchObject({ state: 'Paused' });
    expect(await insist(operator, 'op-2', 'resume')).toEqual({ error: undefined });
    expect(operator.report).toMatchObject({ state: 'Running' });
    const beats = (await launcher.guestSays(HEARTBEAT)).length;
    await launcher.guestSays(HEARTBEAT, beats + 2);
    await doomed.check(await launcher.stop(40));
  });

  test('system_reset: at most once, and it is said that nobody knows', LONG, async () => {
    const { operator: anOperator, doomed: theDoomed } = await connected('reset', around('qmp:system_reset'));
    await using operator = anOperator;
    await using doomed = theDoomed;
    const { launcher } = doomed;
    const unknown = {
      error: {
        code: 'QmpClosed',
        message:
          'the launcher was restarted while it carried out reset; whether the guest saw it is not known',
      },
    };
    expect(await insist(operator, 'op-1', 'reset')).toEqual(unknown);
    expect(await insist(operator, 'op-2', 'reset')).toEqual(unknown);
    // The one before which the launcher died did not happen, the one after which it died did.
    await launcher.guestSays(UP, 2, 60);
    await launcher.guestSays(WRITES, 2, 30);
    await doomed.check(await launcher.stop(40), 2);
  });

  test('quit: a forced stop ends the VM', LONG, async () => {
    const { operator: anOperator, doomed: theDoomed } = await connected('force', around('qmp:quit'));
    await using operator = anOperator;
    await using doomed = theDoomed;
    const end = doomed.launcher.ended(60);
    await Promise.race([insist(operator, 'op-1', 'quit'), end]);
    expect(await doomed.check(await end)).toMatchObject({
      exitCode: 64,
      message: { result: 'StoppedForced' },
    });
  });
});
