/** Lets a guest go on that a full volume had stopped. Only what QEMU stopped for lack of room, never a person's pause. */
import { hasRoom, LOOK_INTERVAL } from './room.ts';
import type { Vm } from './vm.ts';

export function watchRoom(vm: Vm): void {
  const { life, log } = vm.options;
  let interval: number = LOOK_INTERVAL.first;
  let lastResume = 0;
  const look = async () => {
    const error = life.record.ioError;
    const disk = vm.disks[error?.disk ?? -1];
    if (vm.state === 'IoError' && error?.noSpace && !life.record.pausedByPerson && disk && hasRoom(disk)) {
      // A resume that did not last is tried again more slowly.
      interval =
        Date.now() - lastResume < LOOK_INTERVAL.last ? Math.min(interval * 2, LOOK_INTERVAL.last) : interval;
      lastResume = Date.now();
      log.info({ disk: vm.ioError()?.disk }, 'there is room again; the guest goes on');
      await vm.qmp?.execute('cont').catch((failure: unknown) => log.warn({ err: String(failure) }, 'cont'));
      await vm.refresh().catch(() => {});
    } else if (vm.state === 'Running') {
      interval = LOOK_INTERVAL.first;
    }
    setTimeout(look, interval).unref();
  };
  setTimeout(look, interval).unref();
}
