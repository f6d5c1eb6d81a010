/** Events for what a person would look for, from the difference between two statuses. Pure. */
import type { VirtualMachineStatus } from '../../crds/virtual-machine.ts';
import { isFailure } from '../ownership/proof-of-end.ts';

export interface Happening {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

export function happenings(
  before: VirtualMachineStatus | undefined,
  after: VirtualMachineStatus,
): Happening[] {
  const list: Happening[] = [];
  const lastRun = after.lastRun;
  if (lastRun && lastRun.podUID !== before?.lastRun?.podUID) {
    list.push({
      type: isFailure(lastRun.result) ? 'Warning' : 'Normal',
      reason: lastRun.result,
      message: `Incarnation ${lastRun.incarnation} ended: ${lastRun.message}`,
    });
  }
  const running = conditionOf(after, 'Running');
  const ran = conditionOf(before, 'Running');
  const sameRun = before?.launcher?.podUID === after.launcher?.podUID;
  if (running?.status === 'True' && !(ran?.status === 'True' && sameRun)) {
    const { launcher, resolved } = after;
    list.push({
      type: 'Normal',
      reason:
        ran?.reason === 'Paused' || ran?.reason === 'DiskFull' || ran?.reason === 'DiskError'
          ? 'Resumed'
          : 'Running',
      message: `The guest runs on node ${launcher?.node ?? '?'} in pod ${launcher?.podName ?? '?'} (${resolved?.acceleration ?? '?'}).`,
    });
  }
  if (
    running &&
    running.status !== 'True' &&
    running.reason !== ran?.reason &&
    WORTH_TELLING.has(running.reason)
  ) {
    list.push({
      type: running.reason === 'Paused' ? 'Normal' : 'Warning',
      reason: running.reason,
      message: running.message,
    });
  }
  return list;
}

/** Reasons of the Running condition that are news: the rest are steps of every start and stop. */
const WORTH_TELLING = new Set([
  'Paused',
  'DiskFull',
  'DiskError',
  'NodeSilent',
  'ControlUnreachable',
  'CrashLoopBackOff',
  'ClaimInUse',
  'ClaimLost',
  'ClaimNotFound',
  'ClaimNotOurs',
  'ClaimTerminating',
  'ClaimUnbound',
  'ContainerRefused',
  'ClaimIsImage',
  'ImageLost',
  'ImageNotFound',
  'ImageNotReady',
  'ImageTooLarge',
  'ImageUnavailable',
  'KVMNodesFull',
  'KVMUnavailable',
  'LimitRangeRefused',
  'MultiAttach',
  'PodNameTaken',
  'PodRefused',
  'PodSecurityRefused',
  'QuotaExceeded',
  'SecretNotFound',
  'ConfigMapNotFound',
  'Unschedulable',
  'VolumeNotAttached',
  'VolumeNotMounted',
]);

function conditionOf(status: VirtualMachineStatus | undefined, type: string) {
  return status?.conditions?.find((each) => each.type === type);
}
