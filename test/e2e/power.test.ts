import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunStrategy } from '../../crds/virtual-machine.ts';
import { Bed, brief } from './support/bed.ts';
import { boots, downs, lastHeartbeat } from './support/guest.ts';
import { killLauncher, killQemu } from './support/kill.ts';
import { operation, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';

/** The rows of docs/behaviour.md: each strategy, and each way in which a run ends. */
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open('power');
});

afterAll(() => bed.close());

const EVENTS = {
  poweroff: { result: 'GuestPowerOff', cause: (vm: string) => bed.typeInto(vm, 'poweroff') },
  panic: { result: 'GuestPanic', cause: (vm: string) => bed.typeInto(vm, 'panic') },
  kill: { result: 'QemuKilled', cause: (vm: string) => killQemu(bed, vm) },
  delete: {
    result: 'Stopped',
    cause: async (vm: string) => {
      await bed.kubectl('delete', 'pod', (await bed.pod(vm)).metadata.name, '--wait=false');
    },
  },
} as const;

type EventName = keyof typeof EVENTS;

/** What comes after: another run, or the Ready condition of a VM that stays off. */
const AFTER: Record<
  Exclude<RunStrategy, 'Halted'>,
  Record<EventName, 'again' | 'True Finished' | 'False Failed'>
> = {
  Always: { poweroff: 'again', panic: 'again', kill: 'again', delete: 'again' },
  RerunOnFailure: { poweroff: 'True Finished', panic: 'again', kill: 'again', delete: 'again' },
  Once: { poweroff: 'True Finished', panic: 'False Failed', kill: 'False Failed', delete: 'True Finished' },
  Manual: { poweroff: 'True Finished', panic: 'False Failed', kill: 'False Failed', delete: 'True Finished' },
};

const rows = Object.entries(AFTER).flatMap(([strategy, events]) =>
  Object.entries(events).map(([event, after]) => [strategy, event, after] as const),
) as [RunStrategy, EventName, string][];

describe.concurrent('a run that ends', () => {
  test.for(rows)('%s, %s: %s', { timeout: 400_000 }, async ([runStrategy, event, after], { expect }) => {
    const name = `${runStrategy.toLowerCase()}-${event}`;
    await bed.apply(tinyVm(name, { runStrategy }));
    if (runStrategy === 'Manual') {
      await bed.untilCondition(name, 'Ready', 'True NotStarted');
      const start = await bed.operate(operation(`${name}-start`, name, 'Start'));
      expect(start.status?.phase).toBe('Succeeded');
    }
    await bed.untilUp(name);
    await EVENTS[event].cause(name);
    const vm = await bed.until(
      name,
      'the end of its first run',
      ({ status }) => status?.lastRun?.incarnation === 1,
    );
    expect(vm.status?.lastRun?.result).toBe(EVENTS[event].result);
    if (after === 'again') {
      const again = await bed.until(
        name,
        'a second run',
        (each) => each.status?.launcher?.incarnation === 2 && brief(each) === 'True Running',
      );
      expect(again.status?.lastRun?.result).toBe(EVENTS[event].result);
    } else {
      const off = await bed.untilCondition(name, 'Ready', after);
      expect(off.status?.phase).toBe(after === 'True Finished' ? 'Succeeded' : 'Failed');
      expect(brief(off, 'Stalled')).toBe(after === 'True Finished' ? 'absent' : 'True Failed');
      expect(off.status?.launcher?.podName).toBeUndefined();
      // The last words of the guest stay readable, except where a person deleted the pod itself.
      if (event !== 'delete') expect(await bed.kubectl('logs', `vm-${name}-1`)).toContain('VMSTEAD-GUEST-UP');
    }
    await bed.delete(name);
  });
});

describe.concurrent('what is no end of a run', () => {
  test.for(['Always', 'RerunOnFailure', 'Once'] as const)(
    '%s: the guest reboots, and the launcher dies, in the same pod',
    async (runStrategy, { expect }) => {
      const name = `stays-${runStrategy.toLowerCase()}`;
      await bed.apply(tinyVm(name, { runStrategy }));
      const { status } = await bed.untilUp(name, { timeout: 120_000 });
      await bed.typeInto(name, 'reboot');
      await bed.untilLog(name, 'a second boot', (log) => boots(log).length === 2);
      expect(downs(bed.log(name))).toEqual(['reboot']);

      const beats = lastHeartbeat(bed.log(name));
      await killLauncher(bed, name);
      await bed.untilLog(
        name,
        'a heartbeat after the launcher was killed',
        (log) => lastHeartbeat(log) > beats + 2,
      );
      const after = await bed.untilCondition(name, 'Ready', 'True Running');
      expect(boots(bed.log(name))).toHaveLength(2);
      expect(after.status?.launcher?.podUID).toBe(status?.launcher?.podUID);
      expect(after.status?.lastRun).toBeUndefined();
      await bed.delete(name);
    },
  );
});

describe('spec.runStrategy', () => {
  const name = 'halted';

  test('Halted keeps a VM off, and that is Ready; a Start operation says why it cannot start it', async () => {
    await bed.apply(tinyVm(name, { runStrategy: 'Halted' }));
    const vm = await bed.untilCondition(name, 'Ready', 'True Halted');
    expect(vm.status?.phase).toBe('Stopped');
    const start = await bed.operate(operation('halted-start', name, 'Start'));
    expect(start.status).toMatchObject({
      phase: 'Failed',
      reason: 'HaltedBySpec',
      message: 'spec.runStrategy is Halted, which keeps the VM off; set it to Manual or Always instead.',
    });
    expect(await bed.podsOf(name)).toEqual([]);
  });

  test('Halted → Always starts it, Always → Halted shuts it down in good order', async () => {
    await bed.patch(name, { runStrategy: 'Always' });
    await bed.untilUp(name);
    await bed.patch(name, { runStrategy: 'Halted' });
    const vm = await bed.untilCondition(name, 'Ready', 'True Halted');
    expect(vm.status?.lastRun?.result).toBe('Stopped');
    await bed.untilLog(name, 'says why it ends', (log) => downs(log).join() === 'power-button');
  });
});

describe('operations', () => {
  const name = 'operated';
  let boot = '';
  const newestBoot = () => boots(bed.log(name)).at(-1)?.bootId ?? '';

  beforeAll(async () => {
    await bed.apply(tinyVm(name));
    await bed.untilUp(name);
    boot = newestBoot();
  });

  test('Pause: the guest stands still, Paused is said, and the VM is Ready, as it is as asked', async () => {
    const pause = await bed.operate(operation('pause', name, 'Pause'));
    expect(pause.status?.phase).toBe('Succeeded');
    const vm = await bed.untilCondition(name, 'Paused', 'True Paused');
    expect(vm.status?.phase).toBe('Paused');
    expect([brief(vm), brief(vm, 'Running')]).toEqual(['True Paused', 'False Paused']);
    // It beats every 2 s; what it said before may be on its way still.
    await poll('its heart to stand still', async () => {
      const beats = lastHeartbeat(bed.log(name));
      await new Promise((resolve) => setTimeout(resolve, 5000));
      return lastHeartbeat(bed.log(name)) === beats;
    });
  });

  test('Resume: the same guest goes on', async () => {
    const beats = lastHeartbeat(bed.log(name));
    expect((await bed.operate(operation('resume', name, 'Resume'))).status?.phase).toBe('Succeeded');
    await bed.untilCondition(name, 'Ready', 'True Running');
    await bed.untilLog(name, 'goes on', (log) => lastHeartbeat(log) > beats);
    expect(newestBoot()).toBe(boot);
  });

  test('Reset: another boot in the same pod', async () => {
    const before = (await bed.vm(name)).status?.launcher?.podUID;
    expect((await bed.operate(operation('reset', name, 'Reset'))).status?.phase).toBe('Succeeded');
    await bed.untilLog(name, 'boots again', () => newestBoot() !== boot);
    expect((await bed.vm(name)).status?.launcher?.podUID).toBe(before);
    await bed.untilUp(name);
  });

  test('Restart: the guest is asked to power off, and runs in another pod', async () => {
    const restart = await bed.operate(operation('restart', name, 'Restart'));
    expect(restart.status).toMatchObject({ phase: 'Succeeded', message: 'The VM runs (incarnation 2).' });
    await bed.untilLog(name, 'says why it ended', (log) => downs(log).at(-1) === 'power-button');
    await bed.untilUp(name);
  });

  test('Stop holds an Always VM off until Start', async () => {
    const stop = await bed.operate(operation('stop', name, 'Stop'));
    expect(stop.status).toMatchObject({ phase: 'Succeeded', message: 'The VM is off.' });
    const vm = await bed.untilCondition(name, 'Ready', 'True StoppedByOperation');
    expect([vm.status?.phase, vm.status?.lastRun?.result]).toEqual(['Stopped', 'Stopped']);
    expect((await bed.operate(operation('start', name, 'Start'))).status?.phase).toBe('Succeeded');
    await bed.untilUp(name);
  });

  test('Stop with force does not wait for a guest that ignores its power button', async () => {
    await bed.apply(
      tinyVm('deaf', { guest: 'vmstead.power-button=ignore', terminationGracePeriodSeconds: 120 }),
    );
    await bed.untilUp('deaf');
    await bed.apply(operation('patient', 'deaf', 'Stop'));
    await bed.untilLog('deaf', 'ignores the button', (log) => log.includes('ignored'));
    await poll('the operation to wait', async () => {
      const { status } = await bed.operationOf('patient');
      const message = 'Waiting for the guest to power itself off.';
      return status?.phase === 'InProgress' && status.message === message;
    });
    const force = await bed.operate(operation('force', 'deaf', 'Stop', { force: true }), { timeout: 90_000 });
    expect(force.status?.phase).toBe('Succeeded');
    expect((await bed.operationOf('patient')).status).toMatchObject({
      phase: 'Failed',
      reason: 'Superseded',
      message: 'Superseded by Stop operation force.',
    });
    const vm = await bed.untilCondition('deaf', 'Ready', 'True StoppedByOperation');
    expect(vm.status?.lastRun?.result).toBe('StoppedForced');
    await bed.delete('deaf');
  });

  test('an operation on a VM that is off says so', async () => {
    await bed.operate(operation('off', name, 'Stop'));
    expect((await bed.operate(operation('pause-off', name, 'Pause'))).status).toMatchObject({
      phase: 'Failed',
      reason: 'NotRunning',
      message: 'The VM does not run; Pause needs a running VM.',
    });
  });

  test('an operation on a VM that is not there says so', async () => {
    expect((await bed.operate(operation('nobody', 'not-there', 'Start'))).status).toMatchObject({
      phase: 'Failed',
      reason: 'NotFound',
      message: 'There is no VirtualMachine not-there in this namespace.',
    });
  });

  test('a finished operation goes away after its time to live', async () => {
    await bed.operate(operation('short', name, 'Stop', { ttlSecondsAfterFinished: 1 }));
    await poll(
      'the operation to be gone',
      async () => (await bed.operationOf('short').catch(() => 'gone')) === 'gone',
    );
  });

  test('nothing of it touched the spec', async () => {
    expect(await bed.diff(tinyVm(name))).toBe('');
  });
});

describe('a changed spec', () => {
  test('waits for the next start, field by field, and a Restart applies it', async () => {
    const name = 'changed';
    await bed.apply(tinyVm(name, { cpu: { cores: 1 } }));
    await bed.untilUp(name);
    await bed.apply(tinyVm(name, { cpu: { cores: 2 }, memory: { size: '144Mi' } }));
    const vm = await bed.untilCondition(name, 'RestartRequired', 'True SpecChanged');
    expect(vm.status?.restartRequired).toEqual([
      { field: 'spec.cpu.cores', running: '1', wanted: '2' },
      { field: 'spec.memory.size', running: '128Mi', wanted: '144Mi' },
    ]);
    expect(vm.status?.conditions?.find(({ type }) => type === 'RestartRequired')?.message).toBe(
      '2 changed fields wait for the next start, see status.restartRequired; a Restart operation applies them.',
    );
    expect(brief(vm)).toBe('True Running');
    await bed.operate(operation('changed-restart', name, 'Restart'));
    const after = await bed.untilUp(name);
    expect([brief(after, 'RestartRequired'), after.status?.resolved?.vcpus]).toEqual(['absent', 2]);
    await bed.untilLog(name, 'a boot with two CPUs', (log) => boots(log).at(-1)?.cpus === 2);
  });
});

describe('a VM that fails again and again', () => {
  test('backs off, visibly, and its owner can begin anew', async () => {
    const name = 'crashing';
    await bed.apply(tinyVm(name, { guest: 'vmstead.panic=0.1' }));
    const vm = await bed.until(
      name,
      'CrashLoopBackOff',
      ({ status }) => status?.phase === 'CrashLoopBackOff',
      {
        timeout: 120_000,
      },
    );
    expect(brief(vm)).toBe('False CrashLoopBackOff');
    expect(brief(vm, 'Stalled')).toBe('True CrashLoopBackOff');
    const { crashLoop, conditions } = vm.status ?? {};
    expect(crashLoop?.failures).toBeGreaterThanOrEqual(2);
    expect(conditions?.find(({ type }) => type === 'Ready')?.message).toBe(
      `It failed ${crashLoop?.failures} times in a row; the next start is at ${crashLoop?.retryAt}. Last: the kernel of the guest panicked`,
    );
    await bed.apply(tinyVm(name));
    await bed.untilUp(name, { timeout: 120_000 });
  });
});
