/** The VirtualMachineImage controller: observe → plan → apply → status, one key an image. */
import { LABEL } from '../../crds/api.ts';
import type { OperatorDeps } from '../deps.ts';
import { Controller, type Outcome } from '../kube/controller.ts';
import { keyOf } from '../kube/object.ts';
import { pods } from '../kube/resources.ts';
import type { SharedCaches } from '../shared-caches.ts';
import { RefusedError } from '../virtual-machine/apply.ts';
import { sameStatus } from '../virtual-machine/status.ts';
import type { Wait } from '../virtual-machine/waiting.ts';
import type { MachineDefaults } from '../virtual-machine/world.ts';
import { carryOut, type ImageHands, writeImageStatus } from './apply.ts';
import { ImageMetrics } from './image-metrics.ts';
import { type ImageSources, imageOfLabel, observeImage, projectMover } from './observe.ts';
import { type ImagePlan, planImage } from './plan.ts';
import type { StoredImage } from './resources.ts';
import { imageStatusOf } from './status.ts';
import type { ImageWorld } from './world.ts';

/** Milliseconds until what the API server refused is tried again. */
const REFUSED_AGAIN = 10_000;
/** Milliseconds between two statuses that differ in their progress only. */
const PROGRESS_EVERY = 2_000;
/** Milliseconds between two looks at a pod that does not start. */
const LOOK_AGAIN = 5_000;

export function imageController(
  deps: OperatorDeps,
  shared: SharedCaches,
  defaults: MachineDefaults,
): Controller {
  const caches = {
    images: shared.images,
    claims: shared.claims,
    snapshots: shared.snapshots,
    leases: shared.leases,
    nodes: shared.nodes,
    pods: deps.cache(pods, {
      labelSelector: LABEL.image,
      transform: projectMover,
      indexes: { image: imageOfLabel },
    }),
  };
  const sources: ImageSources = {
    client: deps.client,
    caches,
    movers: deps.movers,
    defaults,
    now: () => deps.now().getTime(),
  };
  const reconciler = new Reconciler(deps, sources, { client: deps.client, caches });
  const controller = new Controller({
    name: 'image',
    reconcile: (key) => reconciler.reconcile(key),
    log: deps.log,
    metrics: deps.metrics,
  });
  caches.images.onChange((image) => controller.enqueue(keyOf(image)));
  for (const cache of [caches.pods, caches.leases, caches.claims]) {
    cache.onChange((object) => {
      for (const key of imageOfLabel(object)) controller.enqueue(key);
    });
  }
  // Sources, and what else may have held them.
  caches.claims.onChange((claim) => {
    for (const image of caches.images.by('source', keyOf(claim))) controller.enqueue(keyOf(image));
  });
  caches.snapshots.onChange((snapshot) => {
    for (const image of caches.images.by('snapshot', keyOf(snapshot))) controller.enqueue(keyOf(image));
  });
  caches.leases.onChange((lease) => {
    const { namespace, ownerReferences } = lease.metadata;
    const claim = `${namespace}/${ownerReferences?.[0]?.name}`;
    for (const image of caches.images.by('source', claim)) controller.enqueue(keyOf(image));
  });
  deps.movers.onChange(({ namespace, image }) => controller.enqueue(`${namespace}/${image}`));
  return controller;
}

class Reconciler {
  readonly #deps: OperatorDeps;
  readonly #sources: ImageSources;
  readonly #hands: ImageHands;
  readonly #metrics: ImageMetrics;
  /** When this process wrote each image's progress last. */
  readonly #told = new Map<string, number>();

  constructor(deps: OperatorDeps, sources: ImageSources, hands: ImageHands) {
    this.#deps = deps;
    this.#sources = sources;
    this.#hands = hands;
    this.#metrics = new ImageMetrics(deps.registry, () => hands.caches.images.list());
  }

  async reconcile(key: string): Promise<Outcome> {
    const slash = key.indexOf('/');
    const world = await observeImage(this.#sources, key.slice(0, slash), key.slice(slash + 1));
    const plan = planImage(world);
    let refusal: Wait | undefined;
    let failure: unknown;
    try {
      for (const action of plan.actions) await this.#do(world, action);
    } catch (error) {
      if (error instanceof RefusedError) refusal = error.wait;
      else failure = error;
    }
    const later = await this.#report(key, world, plan, refusal);
    if (failure) throw failure;
    for (const action of plan.afterStatus) await this.#do(world, action);
    if (!plan.decision) this.#told.delete(key);
    const waits = plan.decision?.alive && !world.progress.has(plan.decision.alive.pod.metadata.uid);
    const times = [plan.after, later, refusal && REFUSED_AGAIN, waits ? LOOK_AGAIN : undefined];
    const after = Math.min(...times.filter((each) => each !== undefined));
    return Number.isFinite(after) ? { after: Math.max(after, 10) } : undefined;
  }

  async #do({ namespace, name }: ImageWorld, action: ImagePlan['actions'][number]): Promise<void> {
    await carryOut(this.#hands, action);
    this.#deps.log.info({ controller: 'image', namespace, image: name, action: action.type }, 'carried out');
  }

  /** Writes the status where it changed; gives the milliseconds that a change of the progress still waits. */
  async #report(
    key: string,
    world: ImageWorld,
    { decision }: ImagePlan,
    refusal: Wait | undefined,
  ): Promise<number | undefined> {
    if (!decision) return undefined;
    const before = decision.image.status;
    const status = imageStatusOf(world, decision, refusal);
    if (sameStatus(before, status)) return undefined;
    const left = (this.#told.get(key) ?? 0) + PROGRESS_EVERY - world.now;
    const { progress: _was, ...rest } = before ?? {};
    const { progress: _is, ...others } = status;
    if (left > 0 && sameStatus(rest, others)) return left;
    this.#told.set(key, world.now);
    const { namespace, name } = world;
    const { uid = '' } = decision.image.metadata;
    await writeImageStatus(this.#hands, decision.image.metadata, status);
    this.#metrics.observe(decision.image as StoredImage, status);
    const [ready, was] = [status, before].map((each) =>
      each?.conditions?.find(({ type }) => type === 'Ready'),
    );
    const failed = status.lastError !== before?.lastError && status.lastError !== undefined;
    const { apiVersion, kind } = decision.image;
    const regarding = { apiVersion, kind, metadata: { namespace, name, uid } };
    if (failed) this.#deps.events.record(regarding, 'Warning', 'AttemptFailed', status.lastError ?? '');
    else if (
      ready &&
      ready.reason !== was?.reason &&
      (ready.status === 'True' || WORTH_TELLING.has(ready.reason))
    ) {
      this.#deps.events.record(
        regarding,
        ready.status === 'True' ? 'Normal' : 'Warning',
        ready.reason,
        ready.message,
      );
    }
    return undefined;
  }
}

/** Reasons that are news: the rest are steps of every import. */
const WORTH_TELLING = new Set([
  'ClaimInUse',
  'ClaimLost',
  'ClaimNotOurs',
  'ClaimTerminating',
  'ClaimUnbound',
  'ConfigMapNotFound',
  'ContainerRefused',
  'ImageUnavailable',
  'PodNameTaken',
  'PodRefused',
  'QuotaExceeded',
  'SecretNotFound',
  'SnapshotFailed',
  'SnapshotNotFound',
  'DiskNotInSnapshot',
  'SourceClaimNotFound',
  'SourceLost',
  'Unschedulable',
  'VolumeNotAttached',
  'VolumeNotMounted',
  'WaitingForUpload',
]);
