/** What several controllers read: watched and kept once. */
import { ANNOTATION } from '../crds/api.ts';
import type { OperatorDeps } from './deps.ts';
import { imageOfLabel } from './image/observe.ts';
import { type StoredImage, virtualmachineimages } from './image/resources.ts';
import type { Cache } from './kube/cache.ts';
import {
  type Lease,
  leases,
  type Node,
  nodes,
  type PersistentVolumeClaim,
  persistentvolumeclaims,
} from './kube/resources.ts';
import { claimUidOf } from './ownership/claim-lease.ts';
import { OURS, projectNode, vmOfLabel } from './virtual-machine/observe.ts';

export interface SharedCaches {
  /** Index `source`: the claim that is the source, as `namespace/name`. */
  images: Cache<StoredImage>;
  claims: Cache<PersistentVolumeClaim>;
  /** Claim leases, with the indexes `vm` and `image` (`namespace/name`) and `claim` (UID). */
  leases: Cache<Lease>;
  nodes: Cache<Node>;
}

export function sharedCaches(deps: OperatorDeps): SharedCaches {
  return {
    images: deps.cache(virtualmachineimages, {
      indexes: {
        source: ({ metadata, spec }) =>
          spec.source.claim ? [`${metadata.namespace}/${spec.source.claim.name}`] : [],
      },
    }),
    claims: deps.cache(persistentvolumeclaims, { transform: projectClaim }),
    leases: deps.cache(leases, {
      labelSelector: OURS,
      indexes: { vm: vmOfLabel, image: imageOfLabel, claim: (lease) => [claimUidOf(lease)] },
    }),
    nodes: deps.cache(nodes, { transform: projectNode }),
  };
}

/** Other annotations of a claim can be many and long. */
function projectClaim(claim: PersistentVolumeClaim): PersistentVolumeClaim {
  const { annotations = {}, managedFields: _, ...metadata } = claim.metadata;
  const kept = [ANNOTATION.image, ANNOTATION.base].flatMap((name) => {
    const value = annotations[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...claim, metadata: { ...metadata, annotations: Object.fromEntries(kept) } };
}
