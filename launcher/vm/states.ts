/** The VM's state machine: which state follows on what, as one exhaustive table. */
import type { MachineState } from '../../crds/channel.ts';
import type { RunState } from '../qmp/commands.ts';

/** What QEMU or a person made happen. */
export type Happening = 'running' | 'paused' | 'ioError' | 'stopRequested' | 'ended';

/**
 * A state that has no entry for a happening cannot be left by it: QEMU's word then contradicts ours, which is
 * logged, and the state stays. `Stopping` stays whatever the guest does, and nothing leaves `Ended`.
 */
export const TRANSITIONS: Readonly<Record<MachineState, Readonly<Partial<Record<Happening, MachineState>>>>> =
  {
    Starting: {
      running: 'Running',
      paused: 'Paused',
      ioError: 'IoError',
      stopRequested: 'Stopping',
      ended: 'Ended',
    },
    Running: {
      running: 'Running',
      paused: 'Paused',
      ioError: 'IoError',
      stopRequested: 'Stopping',
      ended: 'Ended',
    },
    Paused: {
      running: 'Running',
      paused: 'Paused',
      ioError: 'IoError',
      stopRequested: 'Stopping',
      ended: 'Ended',
    },
    IoError: {
      running: 'Running',
      paused: 'Paused',
      ioError: 'IoError',
      stopRequested: 'Stopping',
      ended: 'Ended',
    },
    Stopping: {
      running: 'Stopping',
      paused: 'Stopping',
      ioError: 'Stopping',
      stopRequested: 'Stopping',
      ended: 'Ended',
    },
    Ended: { ended: 'Ended' },
    Off: { ended: 'Ended' },
  };

export function next(state: MachineState, happening: Happening): MachineState | undefined {
  return TRANSITIONS[state][happening];
}

/** How QEMU's run state is to be read. */
type Reading =
  | { kind: 'happening'; happening: 'running' | 'paused' | 'ioError' }
  | { kind: 'guestEnded'; result: 'GuestPowerOff' | 'GuestPanic' | 'QemuFailed' }
  /** Between two states: nothing to say yet. */
  | { kind: 'passing' };

const RUNNING: Reading = { kind: 'happening', happening: 'running' };
const PAUSED: Reading = { kind: 'happening', happening: 'paused' };
const PASSING: Reading = { kind: 'passing' };

export const RUN_STATE: Readonly<Record<RunState, Reading>> = {
  running: RUNNING,
  // The guest put itself to sleep; it wakes by itself.
  suspended: RUNNING,
  paused: PAUSED,
  debug: PAUSED,
  watchdog: PAUSED,
  colo: PAUSED,
  // After the memory was written for a snapshot, until the guest is told to go on.
  postmigrate: PASSING,
  'finish-migrate': PASSING,
  'save-vm': PASSING,
  'restore-vm': PASSING,
  inmigrate: PASSING,
  prelaunch: PASSING,
  'io-error': { kind: 'happening', happening: 'ioError' },
  shutdown: { kind: 'guestEnded', result: 'GuestPowerOff' },
  'guest-panicked': { kind: 'guestEnded', result: 'GuestPanic' },
  'internal-error': { kind: 'guestEnded', result: 'QemuFailed' },
};
