/** Stopping: the power button, pressed again and again, then `quit`, then SIGKILL. */
import { setTimeout as sleep } from 'node:timers/promises';
import { QmpClosedError } from '../qmp/errors.ts';
import { PRESS_INTERVAL, stopTimes } from './stop-times.ts';
import type { Vm } from './vm.ts';

/** Ends the VM within its grace period, counted from when the stop was first asked for. Idempotent. */
export async function stop(vm: Vm): Promise<void> {
  const { life, description, log } = vm.options;
  const requestedAt = life.requestStop();
  if (vm.state === 'Stopping' || vm.state === 'Ended') return;
  const { quitAt, killAt } = stopTimes(requestedAt, description.terminationGracePeriodSeconds);
  log.info({ graceSeconds: description.terminationGracePeriodSeconds }, 'stopping the guest');
  vm.happen('stopRequested');
  let ended = false;
  const end = vm.ended.then(() => {
    ended = true;
  });
  const pause = (until: number) =>
    Promise.race([end, sleep(Math.max(0, until - Date.now()), undefined, { ref: false })]);

  let awake = false;
  while (!ended && Date.now() < quitAt) {
    awake = (await press(vm, awake, quitAt - Date.now())) || awake;
    // Until QEMU's monitor is there, look more often.
    await pause(Math.min(quitAt, Date.now() + (vm.qmp === undefined ? 50 : PRESS_INTERVAL)));
  }
  if (ended) return;
  const message = `the guest did not power itself off within ${description.terminationGracePeriodSeconds} s`;
  // Not waited for: a QEMU that hangs answers nothing.
  void vm.quit({ result: 'StoppedForced', message });
  await pause(killAt);
  if (!ended) vm.kill();
}

/**
 * Presses the power button; wakes a paused guest first, which could not hear it. Returns whether it is awake.
 *
 * @param patience milliseconds that QEMU may take to answer
 */
async function press(vm: Vm, awake: boolean, patience: number): Promise<boolean> {
  const timeout = Math.max(1, Math.round(patience));
  try {
    if (vm.qmp === undefined) return false;
    if (!awake) await vm.qmp.execute('cont', {}, { timeout });
    await vm.qmp.execute('system_powerdown', {}, { timeout });
    return true;
  } catch (error) {
    // A QEMU that refuses or is gone: the next round, or the deadline, deals with it.
    if (!(error instanceof QmpClosedError)) vm.options.log.warn({ err: String(error) }, 'power button');
    return false;
  }
}
