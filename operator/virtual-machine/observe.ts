/** Gathers a VM's world from the caches, with a look at the API server where a cache is not proof enough. */
import { ANNOTATION, LABEL, MANAGED_BY } from '../../crds/api.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { VirtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { VirtualMachineOperation } from '../../crds/virtual-machine-operation.ts';
import type { Exporters } from '../channel/exporters.ts';
import type { LauncherRegistry } from '../channel/registry.ts';
import { imageClaimName } from '../image/names.ts';
import type { StoredImage } from '../image/resources.ts';
import type { Cache } from '../kube/cache.ts';
import type { KubeClient } from '../kube/client.ts';
import { orNotFound } from '../kube/errors.ts';
import {
  type CoreEvent,
  events,
  type Lease,
  type Node,
  type PersistentVolumeClaim,
  type Pod,
  storageclasses,
} from '../kube/resources.ts';
import { claimUidOf } from '../ownership/claim-lease.ts';
import { podless } from '../ownership/orphans.ts';
import type { StoredRestore, StoredSnapshot } from '../snapshot/resources.ts';
import { baseRecordOf } from './bases.ts';
import { neededClaims } from './claims.ts';
import { isHeard, launcherStartedAt, missedFrom } from './contact.ts';
import { classesToAsk } from './growth.ts';
import type { NodeLeases } from './node-lease.ts';
import type { StoredOperation, StoredVirtualMachine } from './resources.ts';
import { lookAtStorage } from './storage.ts';
import type { LauncherContact, MachineDefaults, World } from './world.ts';

export interface Caches {
  /** Attachment pods, with the index `vm` (`namespace/name`). */
  attachments: Cache<Pod>;
  snapshots: Cache<StoredSnapshot>;
  restores: Cache<StoredRestore>;
  virtualMachines: Cache<StoredVirtualMachine>;
  operations: Cache<StoredOperation>;
  pods: Cache<Pod>;
  claims: Cache<PersistentVolumeClaim>;
  leases: Cache<Lease>;
  nodes: Cache<Node>;
  images: Cache<StoredImage>;
}

export interface Sources {
  client: KubeClient;
  caches: Caches;
  launchers: LauncherRegistry;
  exporters: Exporters;
  nodeLeases: NodeLeases;
  defaults: MachineDefaults;
  listeningSince: () => number;
  now: () => number;
}

export async function observe(sources: Sources, namespace: string, name: string): Promise<World> {
  const { caches } = sources;
  const key = `${namespace}/${name}`;
  const now = sources.now();
  const vm = caches.virtualMachines.get(key) as VirtualMachine | undefined;
  const pods = caches.pods.by('vm', key);
  const attachments = caches.attachments.by('vm', key);
  const ownLeases = caches.leases.by('vm', key);
  const claims = new Map<string, PersistentVolumeClaim>();
  const leases = new Map(ownLeases.map((lease) => [claimUidOf(lease), lease]));
  for (const { name: claimName } of vm ? neededClaims(vm) : []) {
    const claim = caches.claims.get(`${namespace}/${claimName}`);
    if (!claim) continue;
    claims.set(claimName, claim);
    const lease = caches.leases.by('claim', claim.metadata.uid)[0];
    if (lease) leases.set(claim.metadata.uid, lease);
  }
  const contacts = contactsOf(sources.launchers, pods);
  const { images, imageClaims } = imagesOf(caches, namespace, vm, claims);
  return {
    now,
    listeningSince: sources.listeningSince(),
    namespace,
    name,
    vm,
    pods,
    claims,
    images,
    imageClaims,
    cloning: await lookAtStorage(sources.client, vm, claims, imageClaims),
    leases,
    ownLeases,
    ...(await podless(
      sources.client,
      (pod) => caches.pods.get(pod) !== undefined || caches.attachments.get(pod) !== undefined,
      [...leases.values()],
      now,
    )),
    nodes: [...caches.nodes.list()],
    expandableClasses: await expandable(sources.client, vm ? classesToAsk(vm, claims) : []),
    silentNodes: await silentNodes(sources, pods, contacts, now),
    snapshots: caches.snapshots.by('vm', key),
    restores: caches.restores.by('vm', key),
    operations: caches.operations.by('vm', key) as unknown as VirtualMachineOperation[],
    contacts,
    attachments,
    exporters: sources.exporters.among(attachments.map(({ metadata }) => metadata.uid)),
    attachmentWarnings: await warningsOf(sources, attachments),
    warnings: await warningsOf(sources, pods),
    defaults: sources.defaults,
  };
}

/** The images of a VM's disks, and their claims: by the images' names, and by what the disks say that they need. */
function imagesOf(
  caches: Caches,
  namespace: string,
  vm: VirtualMachine | undefined,
  claims: ReadonlyMap<string, PersistentVolumeClaim>,
): Pick<World, 'images' | 'imageClaims'> {
  const images = new Map<string, VirtualMachineImage>();
  const imageClaims = new Map<string, PersistentVolumeClaim>();
  const look = (name: string | undefined): void => {
    const claim = name === undefined ? undefined : caches.claims.get(`${namespace}/${name}`);
    if (claim) imageClaims.set(claim.metadata.name, claim);
  };
  for (const { source } of vm?.spec.disks ?? []) {
    const name = source?.image?.name ?? source?.ephemeral?.image?.name;
    if (name === undefined) continue;
    const image = caches.images.get(`${namespace}/${name}`) as VirtualMachineImage | undefined;
    if (!image) continue;
    images.set(name, image);
    look(imageClaimName(name, image.spec.source));
  }
  for (const claim of claims.values()) look(baseRecordOf(claim)?.claim);
  return { images, imageClaims };
}

function contactsOf(launchers: LauncherRegistry, pods: readonly Pod[]): Map<string, LauncherContact> {
  const contacts = new Map<string, LauncherContact>();
  for (const { metadata } of pods) {
    const last = launchers.lastReport(metadata.uid);
    if (!last) continue;
    contacts.set(metadata.uid, {
      connected: last.connected,
      lastHeardAt: last.lastHeardAt.getTime(),
      report: last.report,
      launcherVersion: launchers.get(metadata.uid)?.hello?.launcherVersion,
      features: launchers.get(metadata.uid)?.hello?.features ?? [],
      results: last.results,
    });
  }
  return contacts;
}

/** Asks for the sign of life of each node whose launcher should have been heard and was not. */
async function silentNodes(
  { nodeLeases, listeningSince }: Sources,
  pods: readonly Pod[],
  contacts: ReadonlyMap<string, LauncherContact>,
  now: number,
): Promise<Map<string, string>> {
  const silent = new Map<string, string>();
  for (const pod of pods) {
    const node = pod.spec?.nodeName;
    const startedAt = launcherStartedAt(pod);
    const contact = contacts.get(pod.metadata.uid);
    if (node === undefined || startedAt === undefined || isHeard(contact, now)) continue;
    if (missedFrom(startedAt, listeningSince(), contact) > now) continue;
    const since = await nodeLeases.silentSince(node, now);
    if (since !== undefined) silent.set(node, since);
  }
  return silent;
}

/** Asked for only when a claim is to grow, which is rare. */
async function expandable(client: KubeClient, names: Iterable<string>): Promise<Set<string>> {
  const allow = new Set<string>();
  for (const name of names) {
    const found = await orNotFound(client.get(storageclasses, { name }));
    if (found?.allowVolumeExpansion === true) allow.add(name);
  }
  return allow;
}

/** Milliseconds that a pod may take to start before its events are asked for. */
const PATIENCE = 3_000;

/** Warnings about a pod that has a node but does not start; for the others the pod itself says enough. */
export async function warningsOf(
  { client, now }: Pick<Sources, 'client' | 'now'>,
  pods: readonly Pod[],
): Promise<readonly CoreEvent[]> {
  for (const pod of pods) {
    const started = pod.status?.containerStatuses?.some(
      (each) => each.state?.running || each.state?.terminated,
    );
    const age = now() - Date.parse(pod.metadata.creationTimestamp ?? '');
    if (started || pod.spec?.nodeName === undefined || age < PATIENCE) continue;
    const { namespace, uid } = pod.metadata;
    return client.list(events, {
      ...(namespace ? { namespace } : {}),
      fieldSelector: `involvedObject.uid=${uid},type=Warning`,
    });
  }
  return [];
}

/**
 * What of a pod the controllers read; a cache of whole pods would be several times as large.
 * @param keep annotations
 */
export function projectPod(pod: Pod, keep: readonly string[]): Pod {
  const { metadata, spec, status } = pod;
  return {
    metadata: stripMetadata(metadata, keep),
    ...(spec
      ? {
          spec: {
            containers: spec.containers.map((each) => ({
              name: each.name,
              ...(each.resources ? { resources: each.resources } : {}),
            })),
            ...(spec.nodeName === undefined ? {} : { nodeName: spec.nodeName }),
          },
        }
      : {}),
    ...(status ? { status } : {}),
  };
}

export function projectNode(node: Node): Node {
  const ready = node.status?.conditions?.filter((each) => each.type === 'Ready') ?? [];
  return {
    metadata: stripMetadata(node.metadata, []),
    spec: { ...(node.spec?.taints ? { taints: node.spec.taints } : {}) },
    status: {
      ...(node.status?.allocatable ? { allocatable: node.status.allocatable } : {}),
      // The heartbeat time would make every node an update every few seconds.
      conditions: ready.map(({ lastHeartbeatTime: _, ...rest }) => rest),
    },
  };
}

function stripMetadata<M extends Pod['metadata']>(metadata: M, keep: readonly string[]): M {
  const { managedFields: _managed, annotations, ...rest } = metadata;
  const kept = Object.entries(annotations ?? {}).filter(([key]) => keep.includes(key));
  return { ...rest, ...(kept.length > 0 ? { annotations: Object.fromEntries(kept) } : {}) } as M;
}

export const vmOfLabel = (object: {
  metadata: { namespace?: string; labels?: Readonly<Record<string, string>> };
}): string[] => {
  const vm = object.metadata.labels?.[LABEL.vm];
  return vm === undefined ? [] : [`${object.metadata.namespace}/${vm}`];
};

export const OURS = `${LABEL.managedBy}=${MANAGED_BY}`;

/** VMs that an attachment pod works for. */
const attachedToLabel = ({ metadata }: Pod): string[] => {
  const vm = metadata.labels?.[LABEL.attachment];
  return vm === undefined ? [] : [`${metadata.namespace}/${vm}`];
};

/** The cache of attachment pods. */
export const attachmentCache = {
  labelSelector: LABEL.attachment,
  transform: (pod: Pod): Pod => projectPod(pod, [ANNOTATION.claimUid]),
  indexes: { vm: attachedToLabel },
};

/** A launcher pod, with the machine that it was made with. */
export const projectLauncher = (pod: Pod): Pod => projectPod(pod, [ANNOTATION.machine, ANNOTATION.grown]);
