/** Carries a plan out, one write after the other. Every write may fail, be lost or be repeated without harm. */
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { VirtualMachineStatus } from '../../crds/virtual-machine.ts';
import type { LauncherRegistry } from '../channel/registry.ts';
import { NotConnectedError } from '../channel/registry.ts';
import { OPERATOR_NAME } from '../config.ts';
import type { KubeClient } from '../kube/client.ts';
import { ApiError, isAlreadyExists, orNotFound } from '../kube/errors.ts';
import { controllerUid, type ObjectRef } from '../kube/object.ts';
import { persistentvolumeclaims, pods } from '../kube/resources.ts';
import { dropFinalizer, releaseLease, takeLease } from '../ownership/writes.ts';
import { virtualmachinerestores } from '../snapshot/resources.ts';
import type { Action } from './action.ts';
import { isAttached } from './live.ts';
import type { Caches } from './observe.ts';
import type { AttachmentState } from './plugged-disk.ts';
import { virtualmachineoperations, virtualmachines } from './resources.ts';
import { refusalOf, type Wait } from './waiting.ts';

export interface Hands {
  client: KubeClient;
  caches: Omit<Caches, 'images'>;
  launchers: LauncherRegistry;
  attachmentKey: (podUid: string) => string;
}

/** The API server refused what the VM needs: nothing that trying again at once would mend. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly wait: Wait;
  constructor(wait: Wait) {
    super(wait.message);
    this.wait = wait;
  }
}

/** The API server lets a claim not grow, for instance by a quota; the VM itself goes on. */
export class GrowthRefusedError extends Error {
  override readonly name = 'GrowthRefusedError';
  constructor(claim: string, size: string, words: string) {
    super(`The API server does not let PersistentVolumeClaim ${claim} grow to ${size}: ${words}`);
  }
}

/** The API server lets no attachment pod be made, for instance by a quota; the VM itself goes on without the disk. */
export class AttachmentRefusedError extends Error {
  override readonly name = 'AttachmentRefusedError';
  readonly disk: string;
  readonly state: AttachmentState;
  constructor(disk: string, { message }: Wait) {
    super(message);
    this.disk = disk;
    this.state = { state: 'Attaching', podName: undefined, message, stuck: true };
  }
}

type Doing<T extends Action['type']> = (hands: Hands, action: Extract<Action, { type: T }>) => Promise<void>;

const DO: { [T in Action['type']]: Doing<T> } = {
  async CreateClaim({ client, caches }, { claim }) {
    const made = await refusable(claim.metadata.namespace, client.create(persistentvolumeclaims, claim));
    // Somebody else's claim of that name is judged in the next reconcile, like any that was there before.
    if (made) caches.claims.remember(made);
  },

  async GrowClaim({ client, caches }, { claim, size }) {
    const { uid } = claim.metadata;
    try {
      const spec = { resources: { requests: { storage: size } } };
      caches.claims.remember(
        await client.patch(persistentvolumeclaims, refOf(claim), { metadata: { uid }, spec }),
      );
    } catch (error) {
      if (error instanceof ApiError && (error.reason === 'Forbidden' || error.reason === 'Invalid'))
        throw new GrowthRefusedError(claim.metadata.name, size, error.statusMessage);
      throw error;
    }
  },

  async SetClaimOwner({ client, caches }, { claim, owners }) {
    const { uid, resourceVersion } = claim.metadata;
    const ref = refOf(claim);
    caches.claims.remember(
      await client.patch(persistentvolumeclaims, ref, {
        metadata: { uid, resourceVersion, ownerReferences: owners },
      }),
    );
  },

  async TouchPod({ client, caches }, { pod, grown }) {
    const metadata = { uid: pod.metadata.uid, annotations: { [ANNOTATION.grown]: grown } };
    caches.pods.remember(await client.patch(pods, refOf(pod), { metadata }));
  },

  async RefuseClone({ client, caches }, { claim, words }) {
    const { uid, resourceVersion } = claim.metadata;
    const annotations = { [ANNOTATION.cloneRefused]: words.slice(0, 512) };
    const metadata = { uid, resourceVersion, annotations };
    caches.claims.remember(await client.patch(persistentvolumeclaims, refOf(claim), { metadata }));
  },

  async LetGoOfBase({ client, caches }, { claim }) {
    const { uid, resourceVersion } = claim.metadata;
    const metadata = { uid, resourceVersion, annotations: { [ANNOTATION.base]: null } };
    caches.claims.remember(await client.patch(persistentvolumeclaims, refOf(claim), { metadata }));
  },

  async TakeLease({ client, caches }, { lease, replaces }) {
    caches.leases.remember(await takeLease(client, lease, replaces));
  },

  async CreatePod({ client, caches }, { pod }) {
    const { namespace, name, ownerReferences, labels } = pod.metadata;
    const ref: ObjectRef = { namespace, name: name ?? '' };
    if (Number(labels?.[LABEL.incarnation]) > 1)
      await refuseSecondLauncher(client, namespace ?? '', labels?.[LABEL.vm] ?? '', caches);
    const made = await refusable(namespace, client.create(pods, pod));
    if (made) {
      caches.pods.remember(made);
      return;
    }
    const there = await orNotFound(client.get(pods, ref));
    if (there && controllerUid(there) === ownerReferences?.[0]?.uid) return;
    throw new RefusedError({
      reason: 'PodNameTaken',
      message: `Pod ${name} exists and is not this VM's; delete or rename it.`,
    });
  },

  async CreateAttachment({ client, caches }, { disk, pod }) {
    const { namespace, name = '', ownerReferences } = pod.metadata;
    const made = await refusable(namespace, client.create(pods, pod), 'attachment').catch(
      (error: unknown) => {
        throw error instanceof RefusedError ? new AttachmentRefusedError(disk, error.wait) : error;
      },
    );
    if (made) {
      caches.attachments.remember(made);
      return;
    }
    const there = await orNotFound(client.get(pods, { namespace, name }));
    if (there && controllerUid(there) === ownerReferences?.[0]?.uid) return;
    const message = `pod ${name} exists and is not this VM's; delete or rename it`;
    throw new AttachmentRefusedError(disk, { reason: 'PodNameTaken', message });
  },

  async DeletePod({ client, launchers }, { pod, graceSeconds }) {
    const { uid, deletionTimestamp } = pod.metadata;
    if (deletionTimestamp !== undefined && graceSeconds !== undefined) {
      // A kubelet that waits for the first grace period does not hear of a shorter one: the launcher does.
      await launchers.send(uid, 'quit', `quit-${uid}`).catch((error: unknown) => {
        if (!(error instanceof NotConnectedError)) throw error;
      });
    }
    await orNotFound(
      client.delete(pods, refOf(pod), {
        uid: pod.metadata.uid,
        // Grace 0 would erase the object without asking the kubelet.
        ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: Math.max(1, graceSeconds) }),
      }),
    );
  },

  async ChangeMachine(hands, { pod, machine }) {
    const { client, caches, launchers } = hands;
    // The version: what another leader wrote meanwhile is looked at first.
    const { uid, resourceVersion } = pod.metadata;
    const annotations = { [ANNOTATION.machine]: JSON.stringify(machine) };
    caches.pods.remember(
      await client.patch(pods, refOf(pod), { metadata: { uid, resourceVersion, annotations } }),
    );
    launchers.tell(uid, machineMessage(hands, machine));
  },

  async TellMachine(hands, { podUID, machine }) {
    hands.launchers.tell(podUID, machineMessage(hands, machine));
  },

  async ReleaseLease({ client }, { lease, holders }) {
    await releaseLease(client, lease, holders);
  },

  async DropFinalizer({ client }, { pod }) {
    await dropFinalizer(client, pod);
  },

  async Command({ launchers }, { podUID, name, operation }) {
    // The answer is observed by the next reconcile, with the state that the VM came into by it.
    await launchers.send(podUID, name, operation.metadata.uid ?? '').catch((error: unknown) => {
      // It stays in progress: the launcher does a command at most once, however often it is sent.
      if (!(error instanceof NotConnectedError)) throw error;
    });
  },

  async UpdateOperation(hands, { operation, status }) {
    await updateOperation(hands, operation, status);
  },

  async UpdateRestore({ client, caches }, { restore, status }) {
    const stored = await orNotFound(
      client.apply(virtualmachinerestores, statusPatch(restore.metadata, status), {
        fieldManager: OPERATOR_NAME,
        subresource: 'status',
      }),
    );
    if (stored) caches.restores.remember(stored);
  },

  async DeleteOperation({ client }, { operation }) {
    const { uid } = operation.metadata;
    await orNotFound(
      client.delete(virtualmachineoperations, refOf(operation), { ...(uid === undefined ? {} : { uid }) }),
    );
  },
};

function machineMessage({ attachmentKey }: Hands, { revision = 0, disks }: MachineDescription) {
  const attached = disks.filter(isAttached).filter(({ unplugged }) => !unplugged);
  const keys = Object.fromEntries(attached.map(({ name, backend }) => [name, attachmentKey(backend.export)]));
  return { type: 'machine' as const, revision, disks, ...(attached.length > 0 ? { keys } : {}) };
}

export async function carryOut(hands: Hands, action: Action): Promise<void> {
  await (DO[action.type] as Doing<Action['type']>)(hands, action as never);
}

/** `seen`: the object that the status was computed for. Throws a Conflict where it is not that any more. */
export async function writeStatus(
  { client, caches }: Hands,
  seen: Seen,
  status: VirtualMachineStatus,
): Promise<void> {
  const stored = await client.apply(virtualmachines, statusPatch(seen, status), {
    fieldManager: OPERATOR_NAME,
    subresource: 'status',
  });
  caches.virtualMachines.remember(stored);
}

interface Seen {
  namespace?: string | undefined;
  name: string;
  resourceVersion?: string | undefined;
}

/**
 * The version keeps a status from landing on another object that has the name by now. A uid would not: the API
 * server ignores it where a status is applied.
 */
function statusPatch<S>({ namespace = '', name, resourceVersion = '' }: Seen, status: S) {
  return { metadata: { namespace, name, resourceVersion }, status };
}

async function updateOperation(
  { client, caches }: Hands,
  operation: Extract<Action, { type: 'UpdateOperation' }>['operation'],
  status: Extract<Action, { type: 'UpdateOperation' }>['status'],
): Promise<void> {
  const stored = await orNotFound(
    client.apply(virtualmachineoperations, statusPatch(operation.metadata, status), {
      fieldManager: OPERATOR_NAME,
      subresource: 'status',
    }),
  );
  if (stored) caches.operations.remember(stored);
}

/**
 * The cache may lag behind what an earlier leader did. The first life of a VM is safe by its pod's name
 * alone; before a later one the API server itself is asked whether another is there that is not over.
 */
async function refuseSecondLauncher(
  client: KubeClient,
  namespace: string,
  vm: string,
  caches: Hands['caches'],
): Promise<void> {
  const there = await client.list(pods, { namespace, labelSelector: `${LABEL.vm}=${vm}` });
  for (const pod of there) {
    const cached = caches.pods.get(`${namespace}/${pod.metadata.name}`);
    if (cached?.metadata.uid !== pod.metadata.uid) {
      throw new Error(
        `pod ${namespace}/${pod.metadata.name} is not in the cache yet; the start of its VM waits for it`,
      );
    }
  }
}

/** The object that was created; nothing where the name is taken; a RefusedError where a policy refuses it. */
export async function refusable<T>(
  namespace: string | undefined,
  creating: Promise<T>,
  pod: 'launcher' | 'mover' | 'attachment' = 'launcher',
): Promise<T | undefined> {
  try {
    return await creating;
  } catch (error) {
    if (isAlreadyExists(error)) return undefined;
    if (error instanceof ApiError && (error.reason === 'Forbidden' || error.reason === 'Invalid')) {
      throw new RefusedError(refusalOf(error.reason, error.statusMessage, namespace ?? '', pod));
    }
    throw error;
  }
}

function refOf({ metadata }: { metadata: { namespace?: string | undefined; name: string } }): ObjectRef {
  return { namespace: metadata.namespace, name: metadata.name };
}
