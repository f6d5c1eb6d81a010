/** A launcher, its QEMU and its guest through their ends: each of them killed, alone and together. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { TinyGuest } from '../../images/guests/build.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

let guest: TinyGuest;
beforeAll(async () => {
  guest = await tinyGuest();
});

const start = (commandLine?: string, changes?: Parameters<typeof machine>[1], options = {}) =>
  Launcher.start(machine(commandLine, changes), { guest, ...options });

const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
const HEARTBEAT = /VMSTEAD-HEARTBEAT boot_id=(\S+) seq=(\d+)/;

describe('the guest', () => {
  test('powers itself off', async () => {
    await using launcher = await start('vmstead.poweroff=1');
    const { exitCode, message } = await launcher.ended();
    expect(message).toMatchObject({ result: 'GuestPowerOff', message: 'the guest powered itself off' });
    expect(exitCode).toBe(0);
  });

  test('panics', async () => {
    await using launcher = await start('vmstead.panic=1');
    const { exitCode, message } = await launcher.ended();
    expect(message).toMatchObject({ result: 'GuestPanic', code: 'GuestPanic' });
    expect(exitCode).toBe(65);
  });

  test('reboots in place: the same QEMU, another boot', async () => {
    await using launcher = await start('vmstead.reboot=1 vmstead.heartbeat=1');
    await launcher.guestSays(UP);
    const { qemu } = await launcher.life();
    const boots = await launcher.guestSays(UP, 2);
    expect(boots[0]![1]).not.toBe(boots[1]![1]);
    expect((await launcher.life()).qemu).toEqual(qemu);
  });

  test('says that it is ready', async () => {
    await using launcher = await start();
    await launcher.guestSays(UP);
    await expect.poll(() => launcher.life(), { timeout: 5000 }).toMatchObject({ guestReady: 'Signal' });
  });
});

describe('the launcher is killed', () => {
  test('and takes the running QEMU over: the same boot goes on', async () => {
    await using launcher = await start('vmstead.heartbeat=0.2');
    const [up] = await launcher.guestSays(UP);
    await launcher.kill('node');
    await expect.poll(() => launcher.life(), { timeout: 5000 }).toMatchObject({ restarts: 1 });
    const before = (await launcher.guestSays(HEARTBEAT)).length;
    const beats = await launcher.guestSays(HEARTBEAT, before + 5);
    expect(new Set(beats.map((beat) => beat[1]))).toEqual(new Set([up![1]]));
    // Nothing of the serial output is lost or told twice.
    expect(beats.map((beat) => Number(beat[2]))).toEqual(beats.map((_, index) => index));
    expect(await launcher.qemus()).toBe(1);
    expect((await launcher.stop(20)).message).toMatchObject({ result: 'Stopped' });
  });

  test('and the guest powers itself off before it is back', async () => {
    await using launcher = await start('vmstead.heartbeat=0.2');
    await launcher.guestSays(UP);
    // Supervise waits a second before its second try, and so on: kill until it does.
    await launcher.kill('supervise', 'STOP');
    await launcher.kill('node');
    const typing = `const socket = require('net').connect('/run/vmstead/console.sock');
      socket.write('poweroff\\n');
      setTimeout(() => process.exit(0), 3000);`;
    await launcher.sh(`node -e "${typing}"`);
    await launcher.kill('supervise', 'CONT');
    expect((await launcher.ended()).message).toMatchObject({ result: 'GuestPowerOff' });
  });

  test('and SIGTERM comes while none runs', async () => {
    await using launcher = await start();
    await launcher.guestSays(UP);
    await launcher.kill('supervise', 'STOP');
    await launcher.kill('node');
    await launcher.kill('supervise', 'TERM');
    await launcher.kill('supervise', 'CONT');
    const { message } = await launcher.ended();
    expect(message).toMatchObject({ result: 'Stopped' });
  });

  test('and so is QEMU', async () => {
    await using launcher = await start();
    await launcher.guestSays(UP);
    await launcher.kill('supervise', 'STOP');
    await launcher.kill('node');
    await launcher.kill('qemu-system-x86_64');
    await launcher.kill('supervise', 'CONT');
    const { exitCode, message } = await launcher.ended();
    expect(message).toMatchObject({
      result: 'QemuKilled',
      message: 'QEMU ended; with which exit code is not known',
    });
    expect(exitCode).toBe(66);
  });
});

test('QEMU is killed', async () => {
  await using launcher = await start();
  await launcher.guestSays(UP);
  await launcher.kill('qemu-system-x86_64');
  const { exitCode, message } = await launcher.ended();
  expect(message).toMatchObject({ result: 'QemuKilled', message: 'QEMU was killed by SIGKILL' });
  expect(exitCode).toBe(66);
});

describe('stopping', () => {
  test('a guest that listens to its power button', async () => {
    await using launcher = await start('', { disks: [fileDisk('data')] });
    await launcher.guestSays(UP);
    expect(await launcher.stop(20)).toMatchObject({ exitCode: 0, message: { result: 'Stopped' } });
  });

  test('a guest that is still booting: the button is pressed until it hears', async () => {
    await using launcher = await start();
    await expect
      .poll(() => launcher.life().catch(() => ({})), { timeout: 20_000 })
      .toHaveProperty('machineReadyAt');
    const message = 'the guest powered itself off when it was asked to';
    expect(await launcher.stop(25)).toMatchObject({ exitCode: 0, message: { result: 'Stopped', message } });
  });

  test('a guest that does not listen is forced', async () => {
    await using launcher = await start('vmstead.power-button=ignore', { terminationGracePeriodSeconds: 4 });
    await launcher.guestSays(UP);
    expect(await launcher.stop(20)).toMatchObject({
      exitCode: 64,
      message: { result: 'StoppedForced', message: 'the guest did not power itself off within 4 s' },
    });
  });

  test('a QEMU that hangs is killed within the grace period', async () => {
    await using launcher = await start('', { terminationGracePeriodSeconds: 4 });
    await launcher.guestSays(UP);
    await launcher.kill('qemu-system-x86_64', 'STOP');
    // Later the kubelet's own SIGKILL would come, and nobody could tell how it ended.
    expect(await launcher.stop(12)).toMatchObject({ exitCode: 64, message: { result: 'StoppedForced' } });
  });

  test('with no grace at all', async () => {
    await using launcher = await start('', { terminationGracePeriodSeconds: 1 });
    await launcher.guestSays(UP);
    const before = Date.now();
    expect((await launcher.stop(20)).message).toMatchObject({ result: 'StoppedForced' });
    expect(Date.now() - before).toBeLessThan(3000);
  });
});

test('a machine that QEMU refuses is told with QEMU’s own words', async () => {
  await using launcher = await start('', { cpu: { model: 'no-such-cpu', sockets: 1, cores: 1, threads: 1 } });
  const { exitCode, message } = await launcher.ended();
  expect(message).toMatchObject({
    result: 'MachineRefused',
    message: "QEMU refused to start: unable to find CPU model 'no-such-cpu'",
  });
  expect(exitCode).toBe(68);
});
