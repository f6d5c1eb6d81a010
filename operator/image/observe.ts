/** Gathers an image's world from the caches, with a look at the API server where a cache is not proof enough. */
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import type { VirtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { MoverRegistry } from '../channel/movers.ts';
import type { Cache } from '../kube/cache.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Lease, Node, PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import { claimUidOf } from '../ownership/claim-lease.ts';
import { podless } from '../ownership/orphans.ts';
import type { StoredSnapshot } from '../snapshot/resources.ts';
import { projectPod, warningsOf } from '../virtual-machine/observe.ts';
import { sourceClaimName } from './from-snapshot.ts';
import { imageClaimName } from './names.ts';
import type { StoredImage } from './resources.ts';
import type { ImageWorld } from './world.ts';

export interface ImageCaches {
  images: Cache<StoredImage>;
  pods: Cache<Pod>;
  claims: Cache<PersistentVolumeClaim>;
  leases: Cache<Lease>;
  snapshots: Cache<StoredSnapshot>;
  nodes: Cache<Node>;
}

export interface ImageSources {
  client: KubeClient;
  caches: ImageCaches;
  movers: MoverRegistry;
  defaults: ImageWorld['defaults'];
  now: () => number;
}

export async function observeImage(
  { client, caches, movers, defaults, now: clock }: ImageSources,
  namespace: string,
  name: string,
): Promise<ImageWorld> {
  const key = `${namespace}/${name}`;
  const now = clock();
  const image = caches.images.get(key) as VirtualMachineImage | undefined;
  const pods = caches.pods.by('image', key);
  const snapshot = caches.snapshots.get(`${namespace}/${image?.spec.source.snapshot?.name}`);
  const source = image && sourceClaimName(image.spec.source, snapshot);
  const claim = image && caches.claims.get(`${namespace}/${imageClaimName(name, image.spec.source)}`);
  const sourceClaim = source === undefined ? undefined : caches.claims.get(`${namespace}/${source}`);
  const ownLeases = caches.leases.by('image', key);
  const leases = new Map(ownLeases.map((lease) => [claimUidOf(lease), lease]));
  for (const each of [claim, sourceClaim]) {
    const lease = each && caches.leases.by('claim', each.metadata.uid)[0];
    if (lease) leases.set(each.metadata.uid, lease);
  }
  const progress = new Map(
    pods.flatMap(({ metadata: { uid } }) => {
      const told = movers.progressOf(uid);
      return told ? [[uid, told] as const] : [];
    }),
  );
  const holds = (holder: string) => caches.pods.get(holder) !== undefined;
  return {
    now,
    namespace,
    name,
    image,
    pods,
    claim,
    snapshot,
    sourceClaim,
    leases,
    ownLeases,
    orphanLeases: (await podless(client, holds, [...leases.values()], now)).orphanLeases,
    nodes: [...caches.nodes.list()],
    progress,
    warnings: await warningsOf({ client, now: clock }, pods),
    defaults,
  };
}

/** What of a mover pod the controller reads. */
export function projectMover(pod: Pod): Pod {
  return projectPod(pod, [ANNOTATION.generation, ANNOTATION.claimUid]);
}

export const imageOfLabel = (object: {
  metadata: { namespace?: string; labels?: Readonly<Record<string, string>> };
}): string[] => {
  const image = object.metadata.labels?.[LABEL.image];
  return image === undefined ? [] : [`${object.metadata.namespace}/${image}`];
};
