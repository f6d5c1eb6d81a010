import type {
  CoreV1Event,
  V1ConfigMap,
  V1EndpointSlice,
  V1Lease,
  V1Node,
  V1PersistentVolume,
  V1PersistentVolumeClaim,
  V1Pod,
  V1Secret,
  V1StorageClass,
  V1TokenReview,
} from '@kubernetes/client-node';
import type { KubeObject, Stored } from './object.ts';

/** Where a resource lives in the API. */
export interface ResourceName {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** A resource of the API; `T` is the type of its objects, known to the compiler only. */
export interface Resource<T extends KubeObject> extends ResourceName {
  readonly objectType?: T;
}

/** Describes a resource: `define<Pod>('v1', 'Pod', 'pods')`. */
export function define<T extends KubeObject>(
  apiVersion: string,
  kind: string,
  plural: string,
  scope: 'Namespaced' | 'Cluster' = 'Namespaced',
): Resource<T> {
  const slash = apiVersion.indexOf('/');
  return {
    group: slash < 0 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    plural,
    kind,
    namespaced: scope === 'Namespaced',
  };
}

/** `v1`, or `group/version`. */
export function apiVersionOf({ group, version }: ResourceName): string {
  return group === '' ? version : `${group}/${version}`;
}

export type Pod = Stored<V1Pod>;
export type PersistentVolumeClaim = Stored<V1PersistentVolumeClaim>;
export type PersistentVolume = Stored<V1PersistentVolume>;
export type Node = Stored<V1Node>;
export type CoreEvent = Stored<CoreV1Event>;
export type Lease = Stored<V1Lease>;
export type EndpointSlice = Stored<V1EndpointSlice>;
export type Secret = Stored<V1Secret>;
export type ConfigMap = Stored<V1ConfigMap>;
export type StorageClass = Stored<V1StorageClass>;
export type TokenReview = Stored<V1TokenReview>;

export const pods = define<Pod>('v1', 'Pod', 'pods');
export const persistentvolumeclaims = define<PersistentVolumeClaim>(
  'v1',
  'PersistentVolumeClaim',
  'persistentvolumeclaims',
);
export const persistentvolumes = define<PersistentVolume>(
  'v1',
  'PersistentVolume',
  'persistentvolumes',
  'Cluster',
);
export const nodes = define<Node>('v1', 'Node', 'nodes', 'Cluster');
export const events = define<CoreEvent>('v1', 'Event', 'events');
export const leases = define<Lease>('coordination.k8s.io/v1', 'Lease', 'leases');
export const endpointslices = define<EndpointSlice>('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices');
export const secrets = define<Secret>('v1', 'Secret', 'secrets');
export const configmaps = define<ConfigMap>('v1', 'ConfigMap', 'configmaps');
export const storageclasses = define<StorageClass>(
  'storage.k8s.io/v1',
  'StorageClass',
  'storageclasses',
  'Cluster',
);
export const tokenreviews = define<TokenReview>(
  'authentication.k8s.io/v1',
  'TokenReview',
  'tokenreviews',
  'Cluster',
);
