/**
 * Lets a guest go on that a full volume or a lost attachment had stopped: when there is room, or to see whether a
 * device has room or the attachment is back. Never what a person paused.
 */
import { LOOK_INTERVAL, mayHaveRoom } from './room.ts';
import type { Vm } from './vm.ts';

export function watchRoom(vm: Vm): void {
  const { life, log } = vm.options;
  let interval: number = LOOK_INTERVAL.first;
  let lastResume = 0;
  const look = async () => {
    const error = life.record.ioError;
    const disk = vm.disks[error?.disk ?? -1];
    const lost = vm.machineDisks[error?.disk ?? -1]?.backend?.type === 'attached';
    const mayGoOn = error?.noSpace ? disk && mayHaveRoom(disk) : lost;
    if (vm.state === 'IoError' && mayGoOn && !life.record.pausedByPerson) {
      // A resume that did not last is tried again more slowly.
      interval =
        Date.now() - lastResume < LOOK_INTERVAL.last ? Math.min(interval * 2, LOOK_INTERVAL.last) : interval;
      lastResume = Date.now();
      log.info({ disk: vm.ioError()?.disk, lost }, 'the guest goes on');
      await vm.qmp?.execute('cont').catch((failure: unknown) => log.warn({ err: String(failure) }, 'cont'));
      await vm.refresh().catch(() => {});
    } else if (vm.state === 'Running') {
      interval = LOOK_INTERVAL.first;
    }
    setTimeout(look, interval).unref();
  };
  setTimeout(look, interval).unref();
}
