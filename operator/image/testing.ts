/** A cluster as far as images know it, for tests: what is stored, what runs, and caches that lag behind. */
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { type ImageInspection, type ImageMetadata, type MoverResult, moverJob } from '../../crds/mover.ts';
import { type VirtualMachineImage, virtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { Draft } from '../kube/object.ts';
import type { Lease, PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import { claimUidOf } from '../ownership/claim-lease.ts';
import { MOVER_CONTAINER } from './attempts.ts';
import { imageClaimName } from './names.ts';
import { type ImageAction, planImage } from './plan.ts';
import { imageStatusOf } from './status.ts';
import type { ImageWorld } from './world.ts';

const NAMESPACE = 'default';

export const METADATA: ImageMetadata = {
  version: 1,
  format: 'qcow2',
  bytes: 196_608,
  actualBytes: 196_608,
  virtualBytes: 64 * 1024 * 1024,
  sha256: 'a'.repeat(64),
  source: { type: 'http', bytes: 196_608 },
  completedAt: '2026-01-01T12:00:00Z',
};

const INSPECTION: ImageInspection = {
  format: 'qcow2',
  virtualBytes: METADATA.virtualBytes,
  bytes: METADATA.bytes,
};

interface Stored {
  image: VirtualMachineImage | undefined;
  claims: Map<string, PersistentVolumeClaim>;
  pods: Map<string, Pod>;
  leases: Map<string, Lease>;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] extends object ? Writable<T[Key]> : T[Key] };

export class ImageCluster {
  stored: Stored = { image: undefined, claims: new Map(), pods: new Map(), leases: new Map() };
  /** UIDs of pods whose mover has a process, with the claim that it writes to. */
  readonly running = new Map<string, string>();
  now = Date.parse('2026-01-01T12:00:00Z');
  readonly #snapshots: Stored[] = [];
  #count = 0;

  #next(): string {
    return String(++this.#count);
  }

  addImage(
    source: object = { http: { url: 'https://example/a.qcow2' } },
    claim: object = { size: '1Gi' },
  ): void {
    this.stored.image = virtualMachineImage.parse({
      apiVersion: 'vmstead.io/v1alpha1',
      kind: 'VirtualMachineImage',
      metadata: { name: 'debian', namespace: NAMESPACE, uid: `image-${this.#next()}`, generation: 1 },
      spec: { source, claim },
    });
  }

  addClaim(name: string): void {
    const uid = `claim-${this.#next()}`;
    const metadata = { name, namespace: NAMESPACE, uid, resourceVersion: this.#next() };
    this.stored.claims.set(name, { metadata, spec: {}, status: { phase: 'Bound' } });
  }

  snapshot(): void {
    this.#snapshots.push(structuredClone(this.stored));
    if (this.#snapshots.length > 4) this.#snapshots.shift();
  }

  /** @param stale how many snapshots the caches are behind */
  world(stale = 0): ImageWorld {
    const seen = structuredClone(this.#snapshots.at(-1 - stale) ?? this.stored);
    const leases = [...seen.leases.values()];
    const { image } = seen;
    return {
      now: this.now,
      namespace: NAMESPACE,
      name: 'debian',
      image,
      pods: [...seen.pods.values()],
      claim: image && seen.claims.get(imageClaimName('debian', image.spec.source)),
      snapshot: undefined,
      sourceClaim: seen.claims.get(image?.spec.source.claim?.name ?? ''),
      leases: new Map(leases.map((lease) => [claimUidOf(lease), lease])),
      ownLeases: leases.filter(({ metadata }) => metadata.labels?.[LABEL.image] === 'debian'),
      // Always the API server's own word, as when it is observed.
      orphanLeases: new Set(
        leases
          .filter((lease) => !this.stored.pods.has(lease.spec?.holderIdentity ?? ''))
          .map(({ metadata }) => metadata.name),
      ),
      nodes: [],
      progress: new Map(),
      warnings: [],
      defaults: {
        launcherImage: 'launcher',
        launcherImagePullPolicy: 'IfNotPresent',
        channel: undefined,
      },
    };
  }

  /** One reconcile of an operator that dies after so many writes. Gives the number of writes that it did. */
  reconcile(stale = 0, writes = Number.POSITIVE_INFINITY): number {
    const world = this.world(stale);
    const plan = planImage(world);
    let done = 0;
    for (const action of plan.actions) {
      if (done >= writes || !this.#apply(action)) return done;
      done++;
    }
    if (plan.decision) {
      const status = imageStatusOf(world, plan.decision, undefined);
      const { image } = this.stored;
      if (image?.metadata.uid !== plan.decision.image.metadata.uid) return done;
      if (image && JSON.stringify(image.status) !== JSON.stringify(status)) {
        if (done >= writes) return done;
        image.status = status;
        done++;
      }
    }
    for (const action of plan.afterStatus) {
      if (done >= writes || !this.#apply(action)) return done;
      done++;
    }
    return done;
  }

  /** Whether the API server took it: names are given once, and versions must be those that were read. */
  #apply(action: ImageAction): boolean {
    const { claims, pods, leases } = this.stored;
    switch (action.type) {
      case 'CreateClaim':
        return this.#create(claims, action.claim, 'claim');
      case 'ResizeClaim':
        return this.#claim(action.claim, (_, spec) => {
          spec.resources = { requests: { storage: action.size } };
        });
      case 'Complete':
        return this.#claim(action.claim, (metadata) => {
          const annotation = { [ANNOTATION.image]: JSON.stringify(action.metadata) };
          metadata.annotations = { ...metadata.annotations, ...annotation };
        });
      case 'SetClaimOwners':
        return this.#claim(action.claim, (metadata) => {
          metadata.ownerReferences = structuredClone([...action.owners]);
        });
      case 'TakeLease': {
        const { name = '' } = action.lease.metadata;
        const there = leases.get(name);
        if (there?.metadata.resourceVersion !== action.replaces?.metadata.resourceVersion) return false;
        leases.delete(name);
        return this.#create(leases, action.lease, 'lease');
      }
      case 'CreatePod':
        moverJob.parse(JSON.parse(action.pod.metadata.annotations?.[ANNOTATION.job] ?? ''));
        return this.#create(pods, action.pod, 'pod');
      case 'ReleaseLease': {
        const there = leases.get(action.lease.metadata.name);
        if (there && there.metadata.resourceVersion !== action.lease.metadata.resourceVersion) return false;
        return leases.delete(action.lease.metadata.name) || true;
      }
      case 'DeletePod':
        this.deletePod(action.pod.metadata.uid);
        return true;
      case 'DropFinalizer': {
        const pod = this.#pod(action.pod.metadata.uid);
        if (pod) (pod.metadata as Writable<Pod['metadata']>).finalizers = [];
        this.#collect(pod);
        return true;
      }
    }
  }

  #create<T extends { metadata: object }>(
    map: Map<string, T>,
    draft: Draft<never> | object,
    kind: string,
  ): boolean {
    const { metadata } = draft as { metadata: { name: string } };
    if (map.has(metadata.name)) return false;
    const stored = structuredClone(draft) as T;
    const creationTimestamp = new Date(this.now).toISOString();
    Object.assign(stored.metadata, {
      uid: `${kind}-${this.#next()}`,
      resourceVersion: this.#next(),
      creationTimestamp,
    });
    map.set(metadata.name, stored);
    return true;
  }

  #claim(
    read: PersistentVolumeClaim,
    change: (
      metadata: Writable<Pod['metadata']>,
      spec: Writable<NonNullable<PersistentVolumeClaim['spec']>>,
    ) => void,
  ): boolean {
    const claim = this.stored.claims.get(read.metadata.name);
    if (claim?.metadata.resourceVersion !== read.metadata.resourceVersion || !claim) return false;
    const metadata = claim.metadata as Writable<Pod['metadata']>;
    change(metadata, claim.spec as Writable<NonNullable<PersistentVolumeClaim['spec']>>);
    metadata.resourceVersion = this.#next();
    return true;
  }

  #pod(uid: string): Pod | undefined {
    return [...this.stored.pods.values()].find(({ metadata }) => metadata.uid === uid);
  }

  #collect(pod: Pod | undefined): void {
    if (pod?.metadata.deletionTimestamp === undefined || (pod.metadata.finalizers?.length ?? 0) > 0) return;
    this.stored.pods.delete(pod.metadata.name);
  }

  deletePod(uid: string): void {
    const pod = this.#pod(uid);
    if (!pod) return;
    const metadata = pod.metadata as Writable<Pod['metadata']>;
    metadata.deletionTimestamp ??= new Date(this.now).toISOString();
    this.#collect(pod);
  }

  startPod(pod: Pod): void {
    if (pod.status?.containerStatuses || pod.metadata.deletionTimestamp !== undefined) return;
    this.#say(pod, { running: { startedAt: new Date(this.now).toISOString() } });
    this.running.set(pod.metadata.uid, pod.metadata.annotations?.[ANNOTATION.claimUid] ?? 'none');
  }

  /** @param result what the mover says with its last words; absent: nothing */
  endPod(pod: Pod, result: MoverResult | undefined): void {
    const started = pod.status?.containerStatuses?.[0]?.state?.running !== undefined;
    if (!started && pod.metadata.deletionTimestamp === undefined) return;
    this.running.delete(pod.metadata.uid);
    const finishedAt = new Date(this.now).toISOString();
    const said = result?.result === 'Succeeded' && looksOnly(pod) ? inspected(result) : result;
    const message = said && started ? { message: JSON.stringify(said) } : {};
    this.#say(pod, { terminated: { exitCode: 1, finishedAt, ...message } });
  }

  #say(pod: Pod, state: object): void {
    const container = { name: MOVER_CONTAINER, image: '', imageID: '', ready: false, restartCount: 0, state };
    Object.assign(pod, {
      spec: { ...pod.spec, nodeName: 'worker' },
      status: { containerStatuses: [container] },
    });
  }
}

const looksOnly = (pod: Pod): boolean => pod.metadata.annotations?.[ANNOTATION.claimUid] === undefined;

function inspected({ image: _, ...rest }: Extract<MoverResult, { result: 'Succeeded' }>): MoverResult {
  return { ...rest, inspection: INSPECTION };
}
