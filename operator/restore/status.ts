/** The status of a restore, in its three forms. Pure. */
import type { Condition } from '../../crds/kubernetes.ts';
import type { VirtualMachineRestoreStatus } from '../../crds/virtual-machine-restore.ts';
import type { StoredRestore } from '../snapshot/resources.ts';

const LONGEST_MESSAGE = 1024;

/** It has not begun. */
export function waiting(now: number, restore: StoredRestore, reason: string, message: string) {
  return compose(now, restore, 'Pending', reason, message);
}

export function inProgress(now: number, restore: StoredRestore, reason: string, message: string) {
  return compose(now, restore, 'InProgress', reason, message);
}

export function ended(
  now: number,
  restore: StoredRestore,
  phase: 'Succeeded' | 'Failed',
  reason: string,
  message: string,
  facts: Pick<VirtualMachineRestoreStatus, 'snapshot' | 'memory' | 'refused' | 'incarnation'>,
): VirtualMachineRestoreStatus {
  const completedAt = new Date(now).toISOString();
  return { ...compose(now, restore, phase, reason, message), ...facts, completedAt };
}

function compose(
  now: number,
  { metadata, status }: StoredRestore,
  phase: NonNullable<VirtualMachineRestoreStatus['phase']>,
  reason: string,
  long: string,
): VirtualMachineRestoreStatus {
  const at = new Date(now).toISOString();
  const message = long.slice(0, LONGEST_MESSAGE);
  const condition = (type: string, state: Condition['status']): Condition => {
    const before = status?.conditions?.find((each) => each.type === type);
    const lastTransitionTime = before?.status === state ? before.lastTransitionTime : at;
    return { type, status: state, reason, message, lastTransitionTime };
  };
  const begun = status?.startedAt ?? (phase === 'Pending' ? undefined : at);
  return {
    observedGeneration: metadata.generation ?? 1,
    phase,
    ...(begun === undefined ? {} : { startedAt: begun }),
    conditions: [
      condition('Complete', phase === 'Succeeded' ? 'True' : 'False'),
      // For kstatus: one that waits is in progress, one that failed stays so.
      ...(phase === 'Succeeded' ? [] : [condition(phase === 'Failed' ? 'Stalled' : 'Reconciling', 'True')]),
    ],
  };
}
