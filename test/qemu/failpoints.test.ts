/**
 * A launcher that kills itself before and after each command that it gives QEMU, and before and after it starts
 * QEMU. In one life of a VM each launcher dies at the next point of a list, so that every one has to take over
 * what the one before left, and has to come further than it.
 */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, type ExpectStatic, test } from 'vitest';
import type { CommandName } from '../../crds/channel.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { EXIT_CODE } from '../../launcher/vm/ending.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { TestOperator } from './support/channel.ts';
import { isolate, release } from './support/isolated.ts';
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
  ({ folder, gateway } = await isolate(NETWORK));
});
afterAll(async () => {
  await release(NETWORK, folder);
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

  get deaths(): number {
    const { launcher } = this.launcher.heard;
    return launcher.match(/the launcher ended with code 137; starting it again/g)?.length ?? 0;
  }

  async untilDeaths(expect: ExpectStatic, count = this.failpoints.length): Promise<void> {
    await expect.poll(() => this.deaths, { timeout: 60_000 }).toBe(count);
  }

  /** The guest boots, and writes to its disk. */
  async untilWriting(): Promise<void> {
    await this.launcher.guestSays(UP, 1, 60);
    await this.launcher.guestSays(WRITES, 1, 30);
  }

  /** Every failpoint was hit once, the guest had so many boots, and its disk holds all that it wrote. */
  async check(expect: ExpectStatic, { exitCode, message }: Ended, result: string, boots = 1): Promise<void> {
    expect([message.result, exitCode]).toEqual([result, EXIT_CODE[message.result]]);
    expect(this.deaths, 'failpoints that were hit').toBe(this.failpoints.length);
    const { guest: log } = this.launcher.heard;
    expect(log.match(new RegExp(UP, 'g')), 'boots').toHaveLength(boots);
    const ring = await readRing(join(this.launcher.disks, 'data', 'disk.img'));
    expect(judge(ring, parseAcknowledgements(log))).toEqual([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.launcher[Symbol.asyncDispose]();
  }
}

const LONG = { timeout: 180_000 };
/** For what asks inside the container: each look is a process. */
const SELDOM = { timeout: 60_000, interval: 500 };

describe.concurrent('the launcher kills itself around', () => {
  test.for([
    [['qemu:spawn', 'qmp:qmp_capabilities'], 'Stopped', undefined],
    [['qmp:query-status', 'qmp:query-version'], 'GuestPowerOff', 'poweroff'],
    [['qmp:query-named-block-nodes', 'qmp:query-chardev'], 'GuestPanic', 'panic'],
  ] as const)(
    '%s of a start, and quit of its end: one QEMU, one boot, %s',
    LONG,
    async ([points, result, typed], { expect }) => {
      await using doomed = await DoomedLaunchers.start(around(...points, 'qmp:quit'));
      const { launcher } = doomed;
      await doomed.untilDeaths(expect, 4);
      await doomed.untilWriting();
      expect(await launcher.qemus()).toBe(1);
      await expect.poll(() => launcher.life(), SELDOM).toMatchObject({ restarts: 4, guestReady: 'Signal' });
      if (typed !== undefined) await launcher.typeIntoConsole(typed);
      const ended = typed === undefined ? launcher.stop(60) : launcher.ended(60);
      await doomed.check(expect, await ended, result);
    },
  );

  test('cont and system_powerdown of a stop: the guest powers itself off', LONG, async ({ expect }) => {
    await using doomed = await DoomedLaunchers.start(around('qmp:cont', 'qmp:system_powerdown'));
    await doomed.untilWriting();
    await doomed.check(expect, await doomed.launcher.stop(60), 'Stopped');
  });

  test('quit of a stop whose guest does not listen: the end is by force', LONG, async ({ expect }) => {
    await using doomed = await DoomedLaunchers.start(
      ['qmp:quit=kill@before'],
      'vmstead.power-button=ignore',
      { terminationGracePeriodSeconds: 3 },
    );
    await doomed.untilWriting();
    await doomed.check(expect, await doomed.launcher.stop(60), 'StoppedForced');
  });

  test('cont after a full disk: the guest goes on, and lost nothing', LONG, async ({ expect }) => {
    await using doomed = await DoomedLaunchers.start(
      around('qmp:cont'),
      '',
      { disks: [fileDisk('data'), fileDisk('full')] },
      { docker: ['--tmpfs=/disks/full:mode=1777,size=64m'] },
    );
    const { launcher } = doomed;
    await doomed.untilWriting();
    await launcher.sh('head -c 55M /dev/zero | tr "\\0" x >/disks/full/other');
    await launcher.typeIntoConsole('fill /dev/vdb 24');
    await expect.poll(() => launcher.life(), SELDOM).toMatchObject({ ioError: { disk: 1, noSpace: true } });
    await launcher.sh('rm /disks/full/other');
    await doomed.untilDeaths(expect);
    await launcher.guestSays(/VMSTEAD-FILL \/dev\/vdb mib=24 ok/, 1, 60);
    await launcher.typeIntoConsole('verify /dev/vdb 24');
    await launcher.guestSays(/VMSTEAD-VERIFY.*same|\bsame\b/, 1, 60);
    await doomed.check(expect, await launcher.stop(60), 'Stopped');
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
  async function connected(expect: ExpectStatic, name: string, points: string[]) {
    const own = join(folder, name);
    const operator = await TestOperator.start(gateway, own);
    const { address, serverName, caCertificate } = operator;
    const doomed = await DoomedLaunchers.start(
      around(...points),
      '',
      { channel: { addresses: [address], serverName, caCertificate } },
      {
        docker: [`--network=${NETWORK}`],
        prepare: (etc) => copyFile(join(own, 'token'), join(etc, 'token')),
      },
    );
    await doomed.untilWriting();
    await expect.poll(() => operator.report, { timeout: 60_000 }).toMatchObject({ state: 'Running' });
    return {
      operator,
      doomed,
      async [Symbol.asyncDispose]() {
        await doomed[Symbol.asyncDispose]();
        await operator[Symbol.asyncDispose]();
      },
    };
  }

  test(
    'stop, cont and quit: Pause, Resume and a forced stop are done, whoever dies meanwhile',
    LONG,
    async ({ expect }) => {
      await using all = await connected(expect, 'pause', ['qmp:stop', 'qmp:cont', 'qmp:quit']);
      const { operator, doomed } = all;
      const { launcher } = doomed;
      expect(await insist(operator, 'op-1', 'pause')).toEqual({ error: undefined });
      expect(doomed.deaths).toBe(2);
      expect(operator.report).toMatchObject({ state: 'Paused' });
      expect(await insist(operator, 'op-2', 'resume')).toEqual({ error: undefined });
      expect(operator.report).toMatchObject({ state: 'Running' });
      const beats = (await launcher.guestSays(HEARTBEAT)).length;
      await launcher.guestSays(HEARTBEAT, beats + 2);
      const end = launcher.ended(60);
      await Promise.race([insist(operator, 'op-3', 'quit'), end]);
      await doomed.check(expect, await end, 'StoppedForced');
    },
  );

  test('system_reset: at most once, and it is said that nobody knows', LONG, async ({ expect }) => {
    await using all = await connected(expect, 'reset', ['qmp:system_reset']);
    const { operator, doomed } = all;
    const { launcher } = doomed;
    const message =
      'the launcher was restarted while it carried out reset; whether the guest saw it is not known';
    const unknown = { error: { code: 'QmpClosed', message } };
    expect(await insist(operator, 'op-1', 'reset')).toEqual(unknown);
    expect(await insist(operator, 'op-2', 'reset')).toEqual(unknown);
    // The one before which the launcher died did not happen, the one after which it died did.
    const boots = await launcher.guestSays(UP, 2, 60);
    const second = new RegExp(`VMSTEAD-SECTOR boot_id=${boots[1]![1]} acked=`);
    await launcher.guestSays(second, 1, 60);
    await doomed.check(expect, await launcher.stop(60), 'Stopped', 2);
  });
});
