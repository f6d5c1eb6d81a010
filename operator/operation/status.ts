/** The status of an operation, in its three forms. Pure. */
import type {
  VirtualMachineOperation,
  VirtualMachineOperationStatus,
} from '../../crds/virtual-machine-operation.ts';

/** What a status takes from the VM's situation. */
export interface Moment {
  /** Milliseconds since the epoch. */
  now: number;
  alive: { incarnation: number } | undefined;
}

/** The status of an operation that has begun and waits. */
export function inProgress(
  moment: Moment,
  operation: VirtualMachineOperation,
  message: string,
): VirtualMachineOperationStatus {
  return compose(moment, operation, 'InProgress', 'InProgress', message);
}

export function succeeded(
  moment: Moment,
  operation: VirtualMachineOperation,
  message: string,
): VirtualMachineOperationStatus {
  return compose(moment, operation, 'Succeeded', 'Succeeded', message);
}

export function failed(
  moment: Moment,
  operation: VirtualMachineOperation,
  reason: string,
  message: string,
): VirtualMachineOperationStatus {
  return compose(moment, operation, 'Failed', reason, message);
}

function compose(
  { now, alive }: Moment,
  operation: VirtualMachineOperation,
  phase: 'InProgress' | 'Succeeded' | 'Failed',
  reason: string,
  message: string,
): VirtualMachineOperationStatus {
  const at = new Date(now).toISOString();
  const status: VirtualMachineOperationStatus = {
    observedGeneration: operation.metadata.generation ?? 1,
    phase,
    reason,
    message,
    startedAt: operation.status?.startedAt ?? at,
    conditions: [
      {
        type: 'Complete',
        status: phase === 'Succeeded' ? 'True' : 'False',
        reason,
        message,
        lastTransitionTime: phase === 'InProgress' ? (operation.status?.startedAt ?? at) : at,
      },
      // For kstatus: an operation that waits is in progress, one that failed stays so.
      ...(phase === 'InProgress'
        ? [kstatus('Reconciling', reason, message, operation.status?.startedAt ?? at)]
        : phase === 'Failed'
          ? [kstatus('Stalled', reason, message, at)]
          : []),
    ],
  };
  if (phase !== 'InProgress') status.completedAt = at;
  const incarnation = operation.status?.incarnation ?? alive?.incarnation;
  if (incarnation !== undefined) status.incarnation = incarnation;
  return status;
}

function kstatus(type: string, reason: string, message: string, lastTransitionTime: string) {
  return { type, status: 'True' as const, reason, message, lastTransitionTime };
}
