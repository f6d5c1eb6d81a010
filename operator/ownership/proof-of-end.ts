/**
 * Proof that a launcher has ended. Only the kubelet's word for that very pod, or an explicit fence, counts:
 * a pod's phase does not (PodGC writes Failed without asking any kubelet), and neither does a silent node.
 * A force-deleted pod keeps its object through Vmstead's finalizer until the kubelet has spoken.
 */
import { type RunResult, terminationMessage } from '../../crds/machine-description.ts';
import type { Node, Pod } from '../kube/resources.ts';

/** Results beside the launcher's own, for ends that the launcher could not report. */
export type EndResult =
  | RunResult
  | 'OutOfMemory'
  | 'Evicted'
  | 'NodeRestarted'
  | 'LauncherFailed'
  | 'Rejected'
  | 'NeverStarted'
  | 'Fenced';

export interface EndOfRun {
  result: EndResult;
  message: string;
  /** ISO time. */
  finishedAt: string;
  /** Milliseconds that the container ran; 0 where it never did. */
  ranFor: number;
}

/** Exit code of a container that the kubelet ended with SIGKILL. */
const KILLED = 137;
const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';

/** How the pod's launcher (or its other one `container`) ended, or nothing where it may still run. */
export function endOfRun(
  pod: Pod,
  node: Node | undefined,
  now: number,
  container = 'launcher',
): EndOfRun | undefined {
  const at = new Date(now).toISOString();
  const terminated = pod.status?.containerStatuses?.find((each) => each.name === container)?.state
    ?.terminated;
  if (terminated) {
    const finishedAt = terminated.finishedAt ?? at;
    const { startedAt } = terminated;
    const ranFor = startedAt ? Math.max(0, Date.parse(finishedAt) - Date.parse(startedAt)) : 0;
    return { ...classify(pod, terminated, container), finishedAt, ranFor };
  }
  const never = (result: EndResult, message: string): EndOfRun => ({
    result,
    message,
    finishedAt: at,
    ranFor: 0,
  });
  if (pod.spec?.nodeName === undefined) {
    // The API server refuses to bind a pod that is being deleted, so that this one can never start.
    return pod.metadata?.deletionTimestamp === undefined
      ? undefined
      : never('NeverStarted', 'The pod was deleted before it had a node.');
  }
  if (pod.status?.phase === 'Failed' && pod.status.message?.startsWith('Pod was rejected') === true) {
    return never('Rejected', `The kubelet refused the pod: ${pod.status.message}`);
  }
  if (node?.spec?.taints?.some((taint) => taint.key === OUT_OF_SERVICE)) {
    return never(
      'Fenced',
      `Node ${pod.spec.nodeName} is marked out of service: a person vouches that it is off.`,
    );
  }
  return undefined;
}

interface Terminated {
  exitCode: number;
  reason?: string;
  message?: string;
}

function classify(
  pod: Pod,
  terminated: Terminated,
  container: string,
): { result: EndResult; message: string } {
  const told = parseTerminationMessage(terminated.message);
  if (told) return { result: told.result, message: told.message };
  if (terminated.reason === 'OOMKilled') {
    return {
      result: 'OutOfMemory',
      message: `The kernel ended the ${container} for lack of memory${container === 'launcher' ? ': raise or remove spec.resources.limits.memory' : ''}.`,
    };
  }
  if (pod.status?.reason === 'Evicted') {
    return {
      result: 'Evicted',
      message: `The kubelet evicted the pod: ${pod.status.message ?? 'no reason given'}`,
    };
  }
  // The kubelet came back and its runtime knows no such container: it has no process either.
  if (terminated.reason === 'ContainerStatusUnknown') {
    const never: { result: EndResult; message: string } = {
      result: 'NeverStarted',
      message: 'The pod ended before its container started.',
    };
    if (pod.metadata.deletionTimestamp === undefined) {
      return pod.status?.startTime === undefined
        ? never
        : {
            result: 'NodeRestarted',
            message: `Node ${pod.spec?.nodeName} lost the container: it was restarted.`,
          };
    }
    // Without an address it had no sandbox, and so no container; with one its guest may have run.
    return pod.status?.podIP === undefined
      ? never
      : {
          result: 'StoppedForced',
          message: `The pod was deleted, and node ${pod.spec?.nodeName} no longer knows its container.`,
        };
  }
  if (terminated.exitCode === 255 && terminated.reason === 'Unknown') {
    return { result: 'NodeRestarted', message: `Node ${pod.spec?.nodeName} was restarted.` };
  }
  if (terminated.exitCode === KILLED && pod.metadata.deletionTimestamp !== undefined) {
    return {
      result: 'StoppedForced',
      message: 'The pod was deleted and its guest was not waited for.',
    };
  }
  return {
    result: 'LauncherFailed',
    message: `The ${container} ended with exit code ${terminated.exitCode}${terminated.reason ? ` (${terminated.reason})` : ''} and left no word; see kubectl logs ${pod.metadata?.name}.`,
  };
}

function parseTerminationMessage(message: string | undefined) {
  if (!message?.startsWith('{')) return undefined;
  try {
    return terminationMessage.safeParse(JSON.parse(message)).data;
  } catch {
    return undefined;
  }
}

/** Ends that RerunOnFailure takes for a finished job. */
export const isSuccess = (result: string): boolean => result === 'GuestPowerOff';

/** Ends that count towards the crash back-off, whatever ended them. */
export function isFailure(result: string): boolean {
  return ![
    'GuestPowerOff',
    'Stopped',
    'StoppedForced',
    'Disowned',
    'SnapshotUnusable',
    'NeverStarted',
    'NodeRestarted',
    'Fenced',
    'Evicted',
  ].includes(result);
}
