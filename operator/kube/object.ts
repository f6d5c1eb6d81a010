import type { V1ObjectMeta } from '@kubernetes/client-node';

/**
 * A Kubernetes type as it is on the wire: client-node's types with every timestamp a string (we parse the
 * JSON as it comes, client-node turns them into Dates) and deeply readonly, since objects in a cache are shared.
 */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Wire<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]: Wire<T[Key]> }
      : T;

/** Metadata of an object that the API server has stored. */
export type StoredMetadata = Wire<V1ObjectMeta> & {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
};

/** What every object has in common; `metadata` is what the API server always fills in. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: StoredMetadata;
}

/** A stored object of one of Kubernetes' own kinds. */
export type Stored<T> = Omit<Wire<T>, 'metadata'> & KubeObject;

/** An object on its way to the API server: metadata needs no more than a name (or a generateName). */
export type Draft<T extends KubeObject> = Omit<T, 'metadata' | 'status'> & {
  readonly metadata: Wire<V1ObjectMeta>;
  readonly status?: T extends { readonly status?: infer Status } ? Status : never;
};

/** A name in its namespace; cluster-scoped objects have none. */
export interface ObjectRef {
  readonly namespace?: string | undefined;
  readonly name: string;
}

/** `namespace/name`, or `name` for a cluster-scoped object: the key of caches and queues. */
export function keyOf(
  object: { readonly metadata: { namespace?: string; name?: string } } | ObjectRef,
): string {
  const { namespace, name } = 'metadata' in object ? object.metadata : object;
  return namespace ? `${namespace}/${name}` : `${name}`;
}

/** UID of the controlling owner, if the object has one. */
export function controllerUid(object: KubeObject): string | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true)?.uid;
}
