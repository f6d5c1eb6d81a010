/** What several controllers read: watched and kept once. */
import { ANNOTATION } from '../crds/api.ts';
import type { VirtualMachine } from '../crds/virtual-machine.ts';
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
import { claimUidOf, vmsOfLease } from './ownership/claim-lease.ts';
import {
  type StoredRestore,
  type StoredSnapshot,
  virtualmachinerestores,
  virtualmachinesnapshots,
} from './snapshot/resources.ts';
import { neededClaims } from './virtual-machine/claims.ts';
import { OURS, projectNode } from './virtual-machine/observe.ts';
import { type StoredVirtualMachine, virtualmachines } from './virtual-machine/resources.ts';

export interface SharedCaches {
  /** Indexes `claim` and `image`: the claims that its disks use and the images that they name (`namespace/name`). */
  virtualMachines: Cache<StoredVirtualMachine>;
  /** Index `vm`: the VM that it is of, as `namespace/name`. */
  snapshots: Cache<StoredSnapshot>;
  restores: Cache<StoredRestore>;
  /** Indexes `source` and `snapshot`: the claim or the snapshot that is the source, as `namespace/name`. */
  images: Cache<StoredImage>;
  claims: Cache<PersistentVolumeClaim>;
  /** Claim leases, with the indexes `vm` and `image` (`namespace/name`) and `claim` (UID). */
  leases: Cache<Lease>;
  nodes: Cache<Node>;
}

export function sharedCaches(deps: OperatorDeps): SharedCaches {
  const vm = (each: StoredSnapshot | StoredRestore) => [
    `${each.metadata.namespace}/${each.spec.virtualMachine}`,
  ];
  return {
    virtualMachines: deps.cache(virtualmachines, {
      indexes: {
        claim: (vm) =>
          neededClaims(vm as VirtualMachine).map(({ name }) => `${vm.metadata.namespace}/${name}`),
        image: (vm) =>
          (vm.spec.disks ?? [])
            .flatMap(({ source }) => source?.image?.name ?? source?.ephemeral?.image?.name ?? [])
            .map((name) => `${vm.metadata.namespace}/${name}`),
      },
    }),
    snapshots: deps.cache(virtualmachinesnapshots, { indexes: { vm } }),
    restores: deps.cache(virtualmachinerestores, { indexes: { vm } }),
    images: deps.cache(virtualmachineimages, {
      indexes: {
        source: ({ metadata, spec }) =>
          spec.source.claim ? [`${metadata.namespace}/${spec.source.claim.name}`] : [],
        snapshot: ({ metadata, spec }) =>
          spec.source.snapshot ? [`${metadata.namespace}/${spec.source.snapshot.name}`] : [],
      },
    }),
    claims: deps.cache(persistentvolumeclaims, { transform: projectClaim }),
    leases: deps.cache(leases, {
      labelSelector: OURS,
      indexes: {
        vm: (lease) => vmsOfLease(lease).map((vm) => `${lease.metadata.namespace}/${vm}`),
        image: imageOfLabel,
        claim: (lease) => [claimUidOf(lease)],
      },
    }),
    nodes: deps.cache(nodes, { transform: projectNode }),
  };
}

/** Other annotations of a claim can be many and long. */
function projectClaim(claim: PersistentVolumeClaim): PersistentVolumeClaim {
  const { annotations = {}, managedFields: _, ...metadata } = claim.metadata;
  const kept = [ANNOTATION.image, ANNOTATION.base, ANNOTATION.clone, ANNOTATION.cloneRefused].flatMap(
    (name) => {
      const value = annotations[name];
      return value === undefined ? [] : [[name, value] as const];
    },
  );
  return { ...claim, metadata: { ...metadata, annotations: Object.fromEntries(kept) } };
}
