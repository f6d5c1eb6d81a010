/** Why a launcher pod does not run yet, in the cluster's words and with the next step in ours. */
import { KVM_RESOURCE } from '../../crds/api.ts';
import type { CoreEvent, Node, Pod } from '../kube/resources.ts';
import { offersKvm } from './resolve.ts';

export interface Wait {
  reason: string;
  message: string;
}

/** Words for a kind of pod. */
interface Subject {
  /** Name of its container. */
  container: string;
  /** Who runs in it. */
  name: string;
  /** What needs a node. */
  needs: string;
  /** Where a registry's credentials come from. */
  pullSecrets: string;
}

const LAUNCHER: Subject = {
  container: 'launcher',
  name: 'the launcher',
  needs: 'the VM',
  pullSecrets: 'spec.pod.imagePullSecrets',
};

/** What the pod waits for before its container runs. */
export function waitOf(
  pod: Pod,
  nodes: readonly Node[],
  warnings: readonly CoreEvent[],
  subject: Subject = LAUNCHER,
): Wait {
  const scheduled = pod.status?.conditions?.find((each) => each.type === 'PodScheduled');
  if (pod.spec?.nodeName === undefined) {
    if (scheduled?.reason === 'Unschedulable')
      return unschedulable(pod, nodes, scheduled.message ?? '', subject);
    return { reason: 'Scheduling', message: 'Waiting for the scheduler to choose a node.' };
  }
  const node = pod.spec.nodeName;
  const waiting = pod.status?.containerStatuses?.find((each) => each.name === subject.container)?.state
    ?.waiting;
  if (waiting?.reason !== undefined && IMAGE_REASONS.has(waiting.reason)) {
    return {
      reason: 'ImageUnavailable',
      message: `Node ${node} cannot pull an image: ${waiting.message ?? waiting.reason}. Check the reference and ${subject.pullSecrets}.`,
    };
  }
  if (
    waiting?.reason === 'CreateContainerConfigError' ||
    waiting?.reason === 'CreateContainerError' ||
    waiting?.reason === 'RunContainerError'
  ) {
    return {
      reason: 'ContainerRefused',
      message: `Node ${node} cannot start ${subject.name}: ${waiting.message ?? waiting.reason}`,
    };
  }
  const warning = warnings
    .filter((event) => event.type === 'Warning')
    .sort((a, b) => eventTime(a) - eventTime(b))
    .at(-1);
  if (warning) return fromEvent(warning, node, subject);
  return { reason: 'Starting', message: `Waiting for node ${node} to start ${subject.name}.` };
}

const IMAGE_REASONS = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
]);

function unschedulable(pod: Pod, nodes: readonly Node[], message: string, { needs }: Subject): Wait {
  const wantsKvm = pod.spec?.containers[0]?.resources?.requests?.[KVM_RESOURCE] !== undefined;
  if (wantsKvm && !nodes.some(offersKvm)) {
    return {
      reason: 'KVMUnavailable',
      message: `No node offers KVM (${KVM_RESOURCE}); enable virtualization on a node, or set spec.acceleration to Auto or Emulation. Scheduler: ${message}`,
    };
  }
  if (wantsKvm && message.includes(KVM_RESOURCE)) {
    return {
      reason: 'KVMNodesFull',
      message: `The nodes with KVM have no room; the VM waits rather than being emulated. Scheduler: ${message}`,
    };
  }
  if (message.includes('unbound immediate PersistentVolumeClaims')) {
    return {
      reason: 'ClaimUnbound',
      message: `A claim has no volume yet: see kubectl describe pvc and whether its storage class has a provisioner. Scheduler: ${message}`,
    };
  }
  if (message.includes('persistentvolumeclaim') && message.includes('not found')) {
    return { reason: 'ClaimNotFound', message: `A claim does not exist. Scheduler: ${message}` };
  }
  return { reason: 'Unschedulable', message: `No node can take ${needs}. Scheduler: ${message}` };
}

function eventTime(event: CoreEvent): number {
  return Date.parse(
    event.series?.lastObservedTime ??
      event.lastTimestamp ??
      event.eventTime ??
      event.metadata.creationTimestamp ??
      '',
  );
}

function fromEvent(event: CoreEvent, node: string, { needs }: Subject): Wait {
  const message = event.message ?? '';
  if (event.reason === 'FailedAttachVolume' && message.includes('Multi-Attach')) {
    return {
      reason: 'MultiAttach',
      message: `A volume is still attached to another node, which must let it go before ${node} gets it: ${message}`,
    };
  }
  if (event.reason === 'FailedAttachVolume')
    return { reason: 'VolumeNotAttached', message: `Node ${node}: ${message}` };
  if (event.reason === 'FailedMount') {
    const missing = /(secret|configmap) "([^"]+)" not found/.exec(message);
    if (missing) {
      const kind = missing[1] === 'secret' ? 'Secret' : 'ConfigMap';
      return {
        reason: `${kind}NotFound`,
        message: `${kind} ${missing[2]} does not exist in this namespace; create it, and ${needs} goes on by itself.`,
      };
    }
    return { reason: 'VolumeNotMounted', message: `Node ${node}: ${message}` };
  }
  if (event.reason === 'Failed' || event.reason === 'BackOff') {
    return { reason: 'ImageUnavailable', message: `Node ${node} cannot pull an image: ${message}` };
  }
  return { reason: 'Starting', message: `Node ${node}: ${event.reason}: ${message}` };
}

/** A LimitRange's own words, and what comes of the limits that it writes into pods: a VM asks for none by itself. */
const LIMIT_RANGE =
  /(minimum|maximum) [a-z-]+ usage per (Container|Pod)|limit to request ratio|must be less than or equal to (cpu|memory) limit/;

/** Why the API server refused a pod of ours, from its answer. */
export function refusalOf(
  reason: string,
  message: string,
  namespace: string,
  pod: 'launcher' | 'mover' | 'attachment' = 'launcher',
): Wait {
  if (message.includes('exceeded quota')) {
    return {
      reason: 'QuotaExceeded',
      message: `The namespace's ResourceQuota has no room for the ${pod} pod: ${message}`,
    };
  }
  if (message.includes('violates PodSecurity')) {
    return {
      reason: 'PodSecurityRefused',
      message: `Pod Security refuses the ${pod} pod, though it is within "restricted"; see the labels of namespace ${namespace}: ${message}`,
    };
  }
  if (LIMIT_RANGE.test(message)) {
    return {
      reason: 'LimitRangeRefused',
      message: `The namespace's LimitRange refuses the ${pod} pod; change it${pod === 'launcher' ? ', or spec.memory and spec.resources' : ''}: ${message}`,
    };
  }
  return { reason: 'PodRefused', message: `The API server refuses the ${pod} pod (${reason}): ${message}` };
}
