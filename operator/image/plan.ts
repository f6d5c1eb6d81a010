/**
 * What to do about one image, from what was observed. Pure: the same world gives the same plan, and a plan that
 * was carried out gives an empty one.
 */
import { API_VERSION, LABEL, LAUNCHER_FINALIZER, MANAGED_BY } from '../../crds/api.ts';
import { claimSizeFor } from '../../crds/claim-size.ts';
import type { ImageMetadata } from '../../crds/mover.ts';
import { parsedBytes } from '../../crds/quantity.ts';
import type { VirtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { Draft } from '../kube/object.ts';
import type { Lease, PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import { draftLease, leaseAge, ORPHAN_AFTER } from '../ownership/claim-lease.ts';
import type { Wait } from '../virtual-machine/waiting.ts';
import { type Attempt, attemptsOf, highestAttempt } from './attempts.ts';
import { snapshotWait } from './from-snapshot.ts';
import { imageOfClaim, metadataOf } from './metadata.ts';
import { attemptOf, imageClaimName, moverPodName } from './names.ts';
import { moverPod } from './pod.ts';
import type { ImageWorld } from './world.ts';

export type Owner = NonNullable<PersistentVolumeClaim['metadata']['ownerReferences']>[number];

export type ImageAction =
  | { type: 'CreateClaim'; claim: Draft<PersistentVolumeClaim> }
  | { type: 'ResizeClaim'; claim: PersistentVolumeClaim; size: string }
  /** Says on the claim what it holds: from now on the image may be used. */
  | { type: 'Complete'; claim: PersistentVolumeClaim; metadata: ImageMetadata }
  | { type: 'SetClaimOwners'; claim: PersistentVolumeClaim; owners: readonly Owner[] }
  | { type: 'TakeLease'; lease: Draft<Lease>; replaces: Lease | undefined }
  | { type: 'CreatePod'; pod: Draft<Pod> }
  | { type: 'DeletePod'; pod: Pod }
  | { type: 'ReleaseLease'; lease: Lease }
  | { type: 'DropFinalizer'; pod: Pod };

/** What was decided about an image that exists; its status is computed from this. */
export interface ImageDecision {
  image: VirtualMachineImage;
  claimName: string;
  /** Set when the image may be used. */
  metadata: ImageMetadata | undefined;
  /** The attempt that may be under way. */
  alive: Attempt | undefined;
  /** The last attempt that failed, while no later one succeeded. */
  lastFailure: Extract<NonNullable<Attempt['end']>, { result: 'Failed' }> | undefined;
  attempts: number;
  /** Why it cannot go on now; nothing where an attempt is under way, or the image is there. */
  wait: Wait | undefined;
  /** Only a person can help. */
  stalled: boolean;
}

export interface ImagePlan {
  /** In this order; the first that fails ends the reconcile. */
  actions: ImageAction[];
  /** Only when the status that records what they erase is stored. */
  afterStatus: ImageAction[];
  /** Absent: the image is gone. */
  decision: ImageDecision | undefined;
  /** Milliseconds after which time alone may change something. */
  after: number | undefined;
}

/** Milliseconds before the second attempt; twice as long before each one after it. */
const BACKOFF = { first: 5_000, last: 300_000 };

export function planImage(world: ImageWorld): ImagePlan {
  const attempts = attemptsOf(world);
  const plan: ImagePlan = { actions: [], afterStatus: [], decision: undefined, after: undefined };
  const { image } = world;
  if (!image || image.metadata.deletionTimestamp !== undefined) {
    for (const each of attempts) endAttempt(each, plan);
    reap(world, attempts, () => true, plan);
    for (const lease of abandoned(world, attempts)) plan.afterStatus.push({ type: 'ReleaseLease', lease });
    return plan;
  }

  const claimName = imageClaimName(world.name, image.spec.source);
  const decision: ImageDecision = {
    image,
    claimName,
    metadata: metadataOf(world.claim),
    alive: attempts.filter(({ end }) => !end).at(-1),
    lastFailure: undefined,
    attempts: highestAttempt(world, attempts),
    wait: undefined,
    stalled: false,
  };
  plan.decision = decision;
  const foreign = world.claim && refuseClaim(world, world.claim);
  if (foreign) {
    decision.metadata = undefined;
    decision.wait = foreign;
    decision.stalled = foreign.reason !== 'ClaimTerminating';
    for (const each of attempts) endAttempt(each, plan);
    reap(world, attempts, () => true, plan);
    return plan;
  }
  keepClaim(world, image, plan);
  if (decision.metadata) {
    // An attempt that outlives its success has nothing to do any more, and none may write to the image now.
    for (const each of attempts) endAttempt(each, plan);
    reap(world, attempts, () => true, plan);
    return plan;
  }

  const own = attempts.filter((each) => each.own && each.claimUid === world.claim?.metadata.uid);
  const last = own.filter(({ end }) => end).at(-1);
  if (last?.end?.result === 'Succeeded' && world.claim) {
    decision.metadata = last.end.image;
    plan.actions.push({ type: 'Complete', claim: world.claim, metadata: last.end.image });
    reap(world, attempts, () => true, plan);
    return plan;
  }
  if (last?.end?.result === 'Failed') decision.lastFailure = last.end;
  if (decision.alive && !decision.alive.own) {
    endAttempt(decision.alive, plan);
    decision.wait = {
      reason: 'EarlierImage',
      message: `Waiting for pod ${decision.alive.pod.metadata.name} of an earlier VirtualMachineImage of this name to end.`,
    };
    decision.alive = undefined;
  } else if (!decision.alive) {
    decision.wait = next(world, image, decision, last, attempts, plan);
  }
  // The last one that failed is kept until it is followed: its log says more than its status.
  reap(world, attempts, (each) => each !== last || decision.alive !== undefined, plan);
  return plan;
}

/** Begins the next attempt, or says what has to come first. */
function next(
  world: ImageWorld,
  image: VirtualMachineImage,
  decision: ImageDecision,
  last: Attempt | undefined,
  attempts: readonly Attempt[],
  plan: ImagePlan,
): Wait | undefined {
  const { claim } = world;
  if (!claim) {
    const size = image.spec.claim?.size ?? sizeToldBy(world, image, last);
    if (size !== undefined) {
      plan.actions.push({ type: 'CreateClaim', claim: draftClaim(world, image, decision.claimName, size) });
      return { reason: 'CreatingClaim', message: `Making PersistentVolumeClaim ${decision.claimName}.` };
    }
    if (image.spec.source.upload) {
      return {
        reason: 'WaitingForUpload',
        message: `${uploadCommand(world)} (which also says how large the claim has to be)`,
      };
    }
  }
  if (last?.end?.result === 'Failed') {
    const { code, message, retry } = last.end;
    if (!retry && last.generation === (image.metadata.generation ?? 1)) {
      decision.stalled = true;
      return { reason: code, message };
    }
    const pause = Math.min(BACKOFF.first * 2 ** Math.min(last.number - 1, 10), BACKOFF.last);
    const left = Date.parse(last.end.finishedAt) + pause - world.now;
    if (retry && left > 0) {
      plan.after = left;
      const at = new Date(Date.parse(last.end.finishedAt) + pause).toISOString();
      return {
        reason: 'BackOff',
        message: `Attempt ${last.number} failed (${code}); the next one is at ${at}. ${message}`,
      };
    }
  }
  const source = image.spec.source.snapshot
    ? snapshotWait(world, image.spec.source.snapshot)
    : sourceClaimWait(world, image);
  if (source) return source;
  const attempt = nextAttempt(world, attempts, decision.attempts);
  const holder = moverPodName(world.name, attempt);
  const claims = claim ? [claim] : [];
  // What an image's claim holds is never written to again: it may be read without being held.
  if (image.spec.source.claim && world.sourceClaim && !metadataOf(world.sourceClaim))
    claims.push(world.sourceClaim);
  const taking: ImageAction[] = [];
  for (const each of claims) {
    const lease = world.leases.get(each.metadata.uid);
    const held = lease?.spec?.holderIdentity;
    if (held === holder) continue;
    if (lease && held !== undefined && !mayReplace(world, lease, attempts)) {
      plan.after = ORPHAN_AFTER;
      return heldBy(each, lease, held);
    }
    const draft = draftLease(each, { [LABEL.image]: world.name }, holder, world.now);
    taking.push({ type: 'TakeLease', lease: draft, replaces: lease });
  }
  plan.actions.push(...taking, { type: 'CreatePod', pod: moverPod(world, image, claim, attempt) });
  decision.attempts = attempt;
  return undefined;
}

/** What to type to send an image. */
export const uploadCommand = ({ namespace, name }: Pick<ImageWorld, 'namespace' | 'name'>): string =>
  `Send the file: kubectl vm image upload ${name} FILE -n ${namespace}`;

/** How large the claim has to be, where the source has said it. */
function sizeToldBy(
  { sourceClaim }: ImageWorld,
  { spec }: VirtualMachineImage,
  last: Attempt | undefined,
): string | undefined {
  if (last?.end?.result === 'Inspected')
    return claimSizeFor(last.end.inspection.bytes, spec.claim?.volumeMode);
  const source = metadataOf(sourceClaim);
  if (!source) return undefined;
  const bytes = spec.claim?.volumeMode === 'Block' ? source.bytes : source.actualBytes;
  return claimSizeFor(bytes, spec.claim?.volumeMode);
}

function heldBy(claim: PersistentVolumeClaim, lease: Lease, pod: string): Wait {
  const labels = lease.metadata.labels ?? {};
  const vm = labels[LABEL.vm];
  const who =
    vm === undefined ? `VirtualMachineImage ${labels[LABEL.image] ?? 'unknown'}` : `VirtualMachine ${vm}`;
  return {
    reason: 'ClaimInUse',
    message: `PersistentVolumeClaim ${claim.metadata.name} is used by ${who} (pod ${pod}); the import begins when that has ended.`,
  };
}

function sourceClaimWait({ sourceClaim }: ImageWorld, { spec }: VirtualMachineImage): Wait | undefined {
  const name = spec.source.claim?.name;
  if (name === undefined || (sourceClaim && sourceClaim.metadata.deletionTimestamp === undefined))
    return undefined;
  return {
    reason: 'SourceClaimNotFound',
    message: `PersistentVolumeClaim ${name}, the source, ${sourceClaim ? 'is being deleted' : 'does not exist'}; create it, or make an image with another source.`,
  };
}

/** Whether the lease's holder is proved to be over. */
function mayReplace(world: ImageWorld, lease: Lease, attempts: readonly Attempt[]): boolean {
  const holder = lease.spec?.holderIdentity;
  const attempt = attempts.find((each) => each.pod.metadata.name === holder);
  if (attempt && lease.metadata.labels?.[LABEL.image] === world.name) return attempt.end !== undefined;
  return world.orphanLeases.has(lease.metadata.name) && leaseAge(lease, world.now) > ORPHAN_AFTER;
}

/** An operator that died between taking the claim and creating the pod left a lease: that attempt is the one to begin. */
function nextAttempt(world: ImageWorld, attempts: readonly Attempt[], highest: number): number {
  const unused =
    highest > (world.image?.status?.attempts ?? 0) &&
    !attempts.some(({ number }) => number === highest) &&
    world.ownLeases.some((lease) => attemptOf(world.name, lease.spec?.holderIdentity) === highest);
  return unused ? highest : highest + 1;
}

/** Why a claim that has the image's name is not taken for its own. */
function refuseClaim(world: ImageWorld, claim: PersistentVolumeClaim): Wait | undefined {
  const { name, deletionTimestamp, labels } = claim.metadata;
  if (deletionTimestamp !== undefined) {
    return {
      reason: 'ClaimTerminating',
      message: `PersistentVolumeClaim ${name} is being deleted; the image is brought in again when it is gone.`,
    };
  }
  if (labels?.[LABEL.managedBy] !== MANAGED_BY || imageOfClaim(claim) !== world.name) {
    return {
      reason: 'ClaimNotOurs',
      message: `PersistentVolumeClaim ${name} exists but was not made for this image; delete it, or give the image another name.`,
    };
  }
  if (claim.status?.phase === 'Lost') {
    return {
      reason: 'ClaimLost',
      message: `PersistentVolumeClaim ${name} has lost its volume ${claim.spec?.volumeName ?? ''}; delete it, and the image is brought in again.`,
    };
  }
  return undefined;
}

/** Size and owners of the claim as the spec wants them. */
function keepClaim({ claim }: ImageWorld, image: VirtualMachineImage, plan: ImagePlan): void {
  if (!claim) return;
  const { uid = '' } = image.metadata;
  const owners = claim.metadata.ownerReferences ?? [];
  const own = owners.some((owner) => owner.uid === uid);
  const wanted = image.spec.claim?.reclaimPolicy !== 'Retain';
  if (wanted && !own) {
    // An image of this name that is gone no longer counts.
    const rest = owners.filter(({ kind }) => kind !== 'VirtualMachineImage');
    plan.actions.push({ type: 'SetClaimOwners', claim, owners: [imageOwner(image), ...rest] });
  } else if (!wanted && owners.length > 0) {
    // With VMs' claims alone as owners it would go with the last of them.
    plan.actions.push({ type: 'SetClaimOwners', claim, owners: [] });
  }
  const size = image.spec.claim?.size;
  const asked = claim.spec?.resources?.requests?.storage;
  const bytes = parsedBytes(asked);
  if (size !== undefined && bytes !== undefined && bytes < (parsedBytes(size) ?? 0n))
    // Last: storage that cannot grow keeps nothing else from going on.
    plan.afterStatus.push({ type: 'ResizeClaim', claim, size });
}

function imageOwner(image: VirtualMachineImage): Owner {
  const { name, uid = '' } = image.metadata;
  return { apiVersion: API_VERSION, kind: 'VirtualMachineImage', name, uid };
}

function draftClaim(
  world: ImageWorld,
  image: VirtualMachineImage,
  name: string,
  size: string,
): Draft<PersistentVolumeClaim> {
  const { storageClassName, accessModes, volumeMode, reclaimPolicy } = image.spec.claim ?? {};
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      namespace: world.namespace,
      name,
      labels: { [LABEL.managedBy]: MANAGED_BY, [LABEL.image]: world.name },
      ...(reclaimPolicy === 'Retain' ? {} : { ownerReferences: [imageOwner(image)] }),
    },
    spec: {
      accessModes: [...(accessModes ?? ['ReadWriteOnce'])],
      volumeMode: volumeMode ?? 'Filesystem',
      resources: { requests: { storage: size } },
      ...(storageClassName === undefined ? {} : { storageClassName }),
    },
  };
}

function endAttempt(attempt: Attempt, plan: ImagePlan): void {
  if (!attempt.end && !attempt.deleting) plan.actions.push({ type: 'DeletePod', pod: attempt.pod });
}

/** Lets go of what attempts that are proved to be over still hold. */
function reap(
  world: ImageWorld,
  attempts: readonly Attempt[],
  erase: (attempt: Attempt) => boolean,
  plan: ImagePlan,
): void {
  const taken = new Set(
    plan.actions.flatMap((action) => (action.type === 'TakeLease' ? [action.lease.metadata.name] : [])),
  );
  for (const attempt of attempts) {
    if (!attempt.end) continue;
    for (const lease of world.ownLeases) {
      if (lease.spec?.holderIdentity === attempt.pod.metadata.name && !taken.has(lease.metadata.name)) {
        plan.afterStatus.push({ type: 'ReleaseLease', lease });
      }
    }
    if (!attempt.deleting && !erase(attempt)) continue;
    if (!attempt.deleting) plan.afterStatus.push({ type: 'DeletePod', pod: attempt.pod });
    if (attempt.pod.metadata.finalizers?.includes(LAUNCHER_FINALIZER)) {
      plan.afterStatus.push({ type: 'DropFinalizer', pod: attempt.pod });
    }
  }
}

/** Leases of an image that is gone whose holder never came to be. */
function abandoned(world: ImageWorld, attempts: readonly Attempt[]): Lease[] {
  const pods = new Set(attempts.map(({ pod }) => pod.metadata.name));
  return world.ownLeases.filter(
    (lease) =>
      !pods.has(lease.spec?.holderIdentity ?? '') &&
      world.orphanLeases.has(lease.metadata.name) &&
      leaseAge(lease, world.now) > ORPHAN_AFTER,
  );
}
