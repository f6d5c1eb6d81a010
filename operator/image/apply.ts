/** Carries an image's plan out, one write after the other. Every write may fail, be lost or be repeated without harm. */
import { ANNOTATION } from '../../crds/api.ts';
import type { VirtualMachineImage, VirtualMachineImageStatus } from '../../crds/virtual-machine-image.ts';
import { OPERATOR_NAME } from '../config.ts';
import type { KubeClient } from '../kube/client.ts';
import { orNotFound } from '../kube/errors.ts';
import { controllerUid, type ObjectRef } from '../kube/object.ts';
import { persistentvolumeclaims, pods } from '../kube/resources.ts';
import { dropFinalizer, releaseLease, takeLease } from '../ownership/writes.ts';
import { RefusedError, refusable } from '../virtual-machine/apply.ts';
import type { ImageCaches } from './observe.ts';
import type { ImageAction } from './plan.ts';
import { virtualmachineimages } from './resources.ts';

export interface ImageHands {
  client: KubeClient;
  caches: ImageCaches;
}

type Doing<T extends ImageAction['type']> = (
  hands: ImageHands,
  action: Extract<ImageAction, { type: T }>,
) => Promise<void>;

const DO: { [T in ImageAction['type']]: Doing<T> } = {
  async CreateClaim({ client, caches }, { claim }) {
    const creating = client.create(persistentvolumeclaims, claim);
    const made = await refusable(claim.metadata.namespace, creating, 'mover');
    if (made) caches.claims.remember(made);
  },

  async ResizeClaim(hands, { claim, size }) {
    await patchClaim(hands, claim, { spec: { resources: { requests: { storage: size } } } });
  },

  async Complete(hands, { claim, metadata }) {
    await patchClaim(hands, claim, {
      metadata: { annotations: { [ANNOTATION.image]: JSON.stringify(metadata) } },
    });
  },

  async SetClaimOwners(hands, { claim, owners }) {
    await patchClaim(hands, claim, { metadata: { ownerReferences: owners } });
  },

  async TakeLease({ client, caches }, { lease, replaces }) {
    caches.leases.remember(await takeLease(client, lease, replaces));
  },

  async CreatePod({ client, caches }, { pod }) {
    const { namespace, name = '', ownerReferences } = pod.metadata;
    const made = await refusable(namespace, client.create(pods, pod), 'mover');
    if (made) {
      caches.pods.remember(made);
      return;
    }
    const there = await orNotFound(client.get(pods, { namespace, name }));
    if (there && controllerUid(there) === ownerReferences?.[0]?.uid) return;
    throw new RefusedError({
      reason: 'PodNameTaken',
      message: `Pod ${name} exists and is not this image's; delete or rename it.`,
    });
  },

  async DeletePod({ client }, { pod }) {
    await orNotFound(client.delete(pods, refOf(pod), { uid: pod.metadata.uid }));
  },

  async ReleaseLease({ client }, { lease }) {
    await releaseLease(client, lease);
  },

  async DropFinalizer({ client }, { pod }) {
    await dropFinalizer(client, pod);
  },
};

export async function carryOut(hands: ImageHands, action: ImageAction): Promise<void> {
  await (DO[action.type] as Doing<ImageAction['type']>)(hands, action as never);
}

export async function writeImageStatus(
  { client, caches }: ImageHands,
  { namespace = '', name, resourceVersion = '' }: VirtualMachineImage['metadata'],
  status: VirtualMachineImageStatus,
): Promise<void> {
  // The version keeps a status from landing on another object that has the name by now.
  const metadata = { namespace, name, resourceVersion };
  const stored = await client.apply(
    virtualmachineimages,
    { metadata, status },
    {
      fieldManager: OPERATOR_NAME,
      subresource: 'status',
    },
  );
  caches.images.remember(stored);
}

interface Named {
  metadata: { namespace?: string | undefined; name: string };
}

function refOf({ metadata: { namespace, name } }: Named): ObjectRef {
  return { namespace, name };
}

/** Of that very claim, as it was read: what was decided of another state of it is not carried out. */
async function patchClaim(
  { client, caches }: ImageHands,
  claim: Extract<ImageAction, { type: 'Complete' }>['claim'],
  change: { metadata?: object; spec?: object },
): Promise<void> {
  const { uid, resourceVersion } = claim.metadata;
  const patch = { ...change, metadata: { ...change.metadata, uid, resourceVersion } };
  caches.claims.remember(await client.patch(persistentvolumeclaims, refOf(claim), patch));
}
