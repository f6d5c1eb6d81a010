/** Whether a VM is wanted on: its strategy, the last operation and how the last run ended. */
import type { RunStrategy, VirtualMachine, VirtualMachineStatus } from '../../crds/virtual-machine.ts';
import { isFailure, isSuccess } from '../ownership/proof-of-end.ts';
import { runStrategyOf } from './resolve.ts';
import type { Run } from './runs.ts';

export type Power = NonNullable<VirtualMachineStatus['power']>;
export type LastRun = NonNullable<VirtualMachineStatus['lastRun']>;
export type CrashLoop = NonNullable<VirtualMachineStatus['crashLoop']>;

export interface Wish {
  on: boolean;
  /** Condition reason and message for a VM that is off because it should be. */
  reason: string;
  message: string;
}

/**
 * The power record that holds now. A strategy that differs from the recorded one begins anew: a person who
 * edits spec.runStrategy after a Stop means it.
 */
export function powerOf(vm: VirtualMachine, runs: readonly Run[], highest: number): Power {
  const strategy = runStrategyOf(vm.spec);
  const recorded = vm.status?.power;
  if (recorded?.runStrategy === strategy) return recorded;
  const alive = runs.some((run) => run.own && !run.end && !run.deleting);
  return {
    state: strategy === 'Manual' && !alive ? 'Stopped' : 'Running',
    runStrategy: strategy,
    // Without a record (a new VM, or a lost status) a finished pod that is still there is a run that counts.
    afterIncarnation: recorded === undefined ? 0 : alive ? highest - 1 : highest,
  };
}

/** What is wanted now. */
export function wishOf(strategy: RunStrategy, power: Power, lastRun: LastRun | undefined): Wish {
  const off = (reason: string, message: string): Wish => ({ on: false, reason, message });
  if (strategy === 'Halted') return off('Halted', 'spec.runStrategy is Halted.');
  if (power.state === 'Stopped') {
    return power.operation === undefined
      ? off('NotStarted', 'spec.runStrategy is Manual and no Start operation was made yet.')
      : off('StoppedByOperation', `Stopped by VirtualMachineOperation ${power.operation}.`);
  }
  const counts = lastRun && lastRun.incarnation > power.afterIncarnation && !NEVER_RAN.has(lastRun.result);
  const finished = counts ? lastRun : undefined;
  if (finished) {
    if (strategy === 'Once') return off(finishedReason(finished), `It ran once: ${finished.message}`);
    if (strategy === 'Manual') return off(finishedReason(finished), finished.message);
    if (strategy === 'RerunOnFailure' && isSuccess(finished.result)) {
      return off('Finished', `${finished.message}; spec.runStrategy RerunOnFailure does not start it again.`);
    }
  }
  return { on: true, reason: 'Wanted', message: '' };
}

/** Ends of pods whose guest never ran: such a run is still owed. */
const NEVER_RAN = new Set(['NeverStarted', 'Rejected', 'SnapshotUnusable']);

/** A run that was cut short, by whomever, has not finished. */
function finishedReason({ result }: LastRun): string {
  return isSuccess(result) || result === 'Stopped' || result === 'StoppedForced' ? 'Finished' : 'Failed';
}

/** The last run as the status keeps it: the newest that is over, or what is recorded already. */
export function lastRunOf(
  status: VirtualMachineStatus | undefined,
  runs: readonly Run[],
): LastRun | undefined {
  const newest = runs.filter((run) => run.own && run.end).at(-1);
  const recorded = status?.lastRun;
  if (!newest?.end || (recorded && recorded.incarnation >= newest.incarnation)) return recorded;
  const { result, message, finishedAt } = newest.end;
  return { incarnation: newest.incarnation, podUID: newest.pod.metadata.uid, result, message, finishedAt };
}

/** A run that lasted so long, in milliseconds, ends a series of failures. */
export const STABLE_AFTER = 600_000;
const LONGEST_BACKOFF = 300_000;

/** Milliseconds before the start after `failures` failed runs in a row: 0, 10 s, 20 s, … 5 min. */
function backoff(failures: number): number {
  return failures <= 1 ? 0 : Math.min(10_000 * 2 ** (failures - 2), LONGEST_BACKOFF);
}

/** A run shorter than this, in milliseconds, counts towards the back-off even where the guest ended it itself. */
const TOO_SHORT = 15_000;

/** The series of failed runs that `lastRun` continues or ends. */
export function crashLoopOf(
  status: VirtualMachineStatus | undefined,
  runs: readonly Run[],
  lastRun: LastRun | undefined,
): CrashLoop | undefined {
  if (!lastRun || lastRun.podUID === status?.lastRun?.podUID) return status?.crashLoop;
  const end = runs.find((run) => run.pod.metadata.uid === lastRun.podUID)?.end;
  if (!end) return status?.crashLoop;
  const counts = isFailure(end.result) || (end.result === 'GuestPowerOff' && end.ranFor < TOO_SHORT);
  if (!counts) return undefined;
  const failures = end.ranFor >= STABLE_AFTER ? 1 : (status?.crashLoop?.failures ?? 0) + 1;
  return { failures, retryAt: new Date(Date.parse(end.finishedAt) + backoff(failures)).toISOString() };
}
