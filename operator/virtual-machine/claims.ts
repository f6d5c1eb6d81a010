/** The claims of a VM's disks: made once, adopted or refused, never emptied. */
import { ANNOTATION, API_VERSION, LABEL, MANAGED_BY } from '../../crds/api.ts';
import { diskClaimSizeFor, type VolumeMode } from '../../crds/claim-size.ts';
import { parseBytes } from '../../crds/quantity.ts';
import type { DiskSpec, VirtualMachine } from '../../crds/virtual-machine.ts';
import { imageOfClaim } from '../image/metadata.ts';
import type { Draft } from '../kube/object.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';
import type { ClaimUse } from '../ownership/claim-lease.ts';
import { type BaseAnswer, baseOf, type DiskBase, ownersWith } from './bases.ts';
import {
  type CloneRecord,
  cloneOf,
  cloneRecordOf,
  cloneRefusal,
  givenUp,
  isUnmade,
  sourceOf,
} from './cloning.ts';
import type { DiskClaim } from './machine.ts';
import { STATE_DISK, stateClaimName } from './names.ts';
import { claimOf, hasOwnClaim, imageReadBy } from './resolve.ts';
import type { World } from './world.ts';

/** One claim that the VM needs. */
export interface NeededClaim {
  /** Name of the disk, or STATE_DISK. */
  disk: string;
  name: string;
  use: ClaimUse;
  /** How to make it; absent for a claim that the spec names. */
  template: ClaimTemplate | undefined;
  /** The disk, where it begins as an image. */
  fromImage?: DiskSpec;
}

interface ClaimTemplate {
  /** Absent: what the image needs. */
  size?: string | undefined;
  storageClassName?: string | undefined;
  accessModes?: readonly string[] | undefined;
  volumeMode?: VolumeMode | undefined;
  reclaimPolicy?: 'Retain' | 'Delete' | undefined;
}

export function neededClaims(vm: VirtualMachine): NeededClaim[] {
  const needed: NeededClaim[] = [];
  if (vm.spec.state) {
    needed.push({
      disk: STATE_DISK,
      name: stateClaimName(vm.metadata.name),
      use: 'Exclusive',
      template: vm.spec.state,
    });
  }
  for (const disk of vm.spec.disks ?? []) {
    const name = claimOf(vm.metadata.name, disk);
    if (name !== undefined)
      needed.push({
        disk: disk.name,
        name,
        use: claimUse(disk),
        template: hasOwnClaim(disk) ? (disk.claim ?? {}) : undefined,
        ...(disk.source?.image ? { fromImage: disk } : {}),
      });
  }
  return needed;
}

function claimUse({ shareable, source }: DiskSpec): ClaimUse {
  if (source?.ephemeral) return 'ReadOnly';
  return shareable ? 'Shared' : 'Exclusive';
}

export interface ClaimProblem {
  reason: string;
  message: string;
}

export interface ClaimsPlan {
  create: Draft<PersistentVolumeClaim>[];
  /** Claims whose owner reference no longer fits spec.reclaimPolicy. */
  setOwner: { claim: PersistentVolumeClaim; owners: Owner[] }[];
  /** Claims that are there and may be used. */
  usable: {
    disk: string;
    claim: PersistentVolumeClaim;
    use: ClaimUse;
    base?: DiskBase;
    clone?: CloneRecord;
  }[];
  /** Clones and the images' claims that they are made of; made ones need these no more. */
  clones: { claim: PersistentVolumeClaim; base: PersistentVolumeClaim; made: boolean }[];
  /** Images' claims that the storage does not clone, in its words. */
  refused: { base: PersistentVolumeClaim; words: string }[];
  /** Claims that were to be clones: they have no volume, and give way to overlays. */
  discard: PersistentVolumeClaim[];
  /** Images in CD-ROM drives and below throw-away overlays. */
  media: { disk: string; base: DiskBase }[];
  problems: ClaimProblem[];
}

type Owner = NonNullable<PersistentVolumeClaim['metadata']['ownerReferences']>[number];

export function planClaims(world: World, vm: VirtualMachine): ClaimsPlan {
  const plan: ClaimsPlan = {
    ...{ create: [], setOwner: [], usable: [], media: [], problems: [] },
    ...{ clones: [], refused: [], discard: [] },
  };
  for (const needed of neededClaims(vm)) {
    const claim = world.claims.get(needed.name);
    const clone = needed.fromImage && cloneRecordOf(claim);
    const answer = clone ? undefined : needed.fromImage && baseOf(world, needed.fromImage, claim);
    if (!claim) {
      if (answer && 'problem' in answer) plan.problems.push(answer.problem);
      else if (needed.template) {
        plan.create.push(draftClaim(world, vm, needed, needed.template, answer));
      } else plan.problems.push(missing(needed));
      continue;
    }
    const problem =
      refuse(vm, needed, claim) ??
      (answer && 'problem' in answer ? answer.problem : undefined) ??
      (clone && planClone(world, needed.disk, claim, plan));
    if (problem) plan.problems.push(problem);
    else {
      const base = answer && 'base' in answer ? { base: answer.base } : {};
      plan.usable.push({ disk: needed.disk, claim, use: needed.use, ...base, ...(clone ? { clone } : {}) });
    }
    if (!problem && needed.template) {
      const owners = ownersOf(vm, needed.template);
      const has = claim.metadata.ownerReferences?.some((owner) => owner.uid === vm.metadata.uid) === true;
      if (has !== owners.length > 0) plan.setOwner.push({ claim, owners });
    }
  }
  for (const disk of vm.spec.disks ?? []) {
    if (imageReadBy(disk) === undefined) continue;
    const answer = baseOf(world, disk, undefined);
    if ('problem' in answer) plan.problems.push(answer.problem);
    else if ('base' in answer) plan.media.push({ disk: disk.name, base: answer.base });
  }
  keepBases(plan);
  return plan;
}

/** Follows a clone until the storage has made it. Says why it is not waited for, if so. */
function planClone(
  world: World,
  disk: string,
  claim: PersistentVolumeClaim,
  plan: ClaimsPlan,
): ClaimProblem | undefined {
  const base = sourceOf(world, claim);
  if (base) plan.clones.push({ claim, base, made: !isUnmade(claim) });
  if (!base || !isUnmade(claim)) return undefined;
  const words = cloneRefusal(base);
  if (words !== undefined) {
    plan.discard.push(claim);
    return {
      reason: 'CloneRefused',
      message: `The storage does not clone PersistentVolumeClaim ${base.metadata.name}; disk ${disk} is made anew as an overlay on it. ${words}`,
    };
  }
  const failure = givenUp(world, claim);
  if (failure !== undefined) plan.refused.push({ base, words: failure });
  return undefined;
}

/** The claims of images stay for as long as a disk needs them, whatever becomes of the images. */
function keepBases(plan: ClaimsPlan): void {
  const based = [
    ...plan.usable.flatMap(({ claim, base }) => (base ? [{ claim, base: base.claim }] : [])),
    ...plan.clones.filter(({ made }) => !made),
  ];
  for (const [, list] of Map.groupBy(based, ({ base }) => base.metadata.uid)) {
    const { base } = list[0]!;
    const owners = ownersWith(
      base,
      list.map(({ claim }) => claim),
    );
    if (owners) plan.setOwner.push({ claim: base, owners });
  }
}

function missing({ disk, name }: NeededClaim): ClaimProblem {
  return {
    reason: 'ClaimNotFound',
    message: `PersistentVolumeClaim ${name} of disk ${disk} does not exist; create it, or name another one in spec.disks.`,
  };
}

/** Why a claim that is there cannot be used, if so. */
function refuse(
  vm: VirtualMachine,
  needed: NeededClaim,
  claim: PersistentVolumeClaim,
): ClaimProblem | undefined {
  const { name, disk, template } = needed;
  if (claim.metadata.deletionTimestamp !== undefined) {
    return {
      reason: 'ClaimTerminating',
      message: `PersistentVolumeClaim ${name} of disk ${disk} is being deleted; the VM starts when it is gone and made anew, or there again.`,
    };
  }
  const image = imageOfClaim(claim);
  if (!template && image !== undefined) {
    return {
      reason: 'ClaimIsImage',
      message: `PersistentVolumeClaim ${name} of disk ${disk} holds VirtualMachineImage ${image}, which nothing may write to; take source.image in the place of source.claim.`,
    };
  }
  const labels = claim.metadata.labels ?? {};
  if (
    template &&
    !(
      labels[LABEL.managedBy] === MANAGED_BY &&
      labels[LABEL.vm] === vm.metadata.name &&
      labels[LABEL.disk] === disk
    )
  ) {
    return {
      reason: 'ClaimNotOurs',
      message: `PersistentVolumeClaim ${name} exists but was not made for disk ${disk} of this VM. To use its data, name it in source.claim of the disk; to leave it alone, give the disk another name.`,
    };
  }
  if (claim.status?.phase === 'Lost') {
    return {
      reason: 'ClaimLost',
      message: `PersistentVolumeClaim ${name} of disk ${disk} has lost its volume ${claim.spec?.volumeName ?? ''}; restore the volume from a backup.`,
    };
  }
  return undefined;
}

function ownersOf(vm: VirtualMachine, template: ClaimTemplate): Owner[] {
  if (template.reclaimPolicy !== 'Delete') return [];
  return [
    { apiVersion: API_VERSION, kind: 'VirtualMachine', name: vm.metadata.name, uid: vm.metadata.uid ?? '' },
  ];
}

function draftClaim(
  world: World,
  vm: VirtualMachine,
  { disk, name }: NeededClaim,
  template: ClaimTemplate,
  answer: BaseAnswer | undefined,
): Draft<PersistentVolumeClaim> {
  const owners = ownersOf(vm, template);
  const { base, record } = answer && 'record' in answer ? answer : {};
  const clone = base && cloneOf(world, template, base);
  const size =
    clone?.size ?? template.size ?? diskClaimSizeFor(base?.metadata.virtualBytes ?? 0, template.volumeMode);
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      namespace: world.namespace,
      name,
      labels: { [LABEL.managedBy]: MANAGED_BY, [LABEL.vm]: vm.metadata.name, [LABEL.disk]: disk },
      annotations: {
        [ANNOTATION.vmUid]: vm.metadata.uid ?? '',
        ...(record ? { [ANNOTATION.base]: JSON.stringify(record) } : {}),
        ...(clone ? { [ANNOTATION.clone]: JSON.stringify(clone.record) } : {}),
      },
      ...(owners.length > 0 ? { ownerReferences: owners } : {}),
    },
    spec: {
      accessModes: [...(template.accessModes ?? ['ReadWriteOnce'])],
      volumeMode: template.volumeMode ?? 'Filesystem',
      resources: { requests: { storage: size } },
      ...(clone ? { dataSource: { kind: 'PersistentVolumeClaim', name: base.claim.metadata.name } } : {}),
      ...(template.storageClassName === undefined ? {} : { storageClassName: template.storageClassName }),
    },
  };
}

/** What the machine description needs of the usable claims, by disk. */
export function diskClaims({ usable, media }: Pick<ClaimsPlan, 'usable' | 'media'>): Map<string, DiskClaim> {
  const mounts = new Map<string, string>();
  const describe = (
    disk: string,
    claim: PersistentVolumeClaim,
    base: DiskBase | undefined,
    clone?: CloneRecord,
  ): DiskClaim => ({
    volumeMode: volumeModeOf(claim),
    bytes: storageBytes(claim.spec?.resources?.requests?.storage),
    ...(base ? { base: describeBase(disk, base, mounts) } : {}),
    ...(clone ? { clone: clone.format } : {}),
  });
  return new Map([
    ...usable.map(({ disk, claim, base, clone }) => [disk, describe(disk, claim, base, clone)] as const),
    ...media.map(({ disk, base }) => [disk, describe(disk, base.claim, base)] as const),
  ]);
}

const volumeModeOf = (claim: PersistentVolumeClaim): 'Block' | 'Filesystem' =>
  claim.spec?.volumeMode === 'Block' ? 'Block' : 'Filesystem';

/** @param mounts by claim, the disk that it is mounted for: a pod has each claim once */
function describeBase(
  disk: string,
  { image, claim, metadata, flatten }: DiskBase,
  mounts: Map<string, string>,
): NonNullable<DiskClaim['base']> {
  const claimName = claim.metadata.name;
  const mount = mounts.get(claimName) ?? disk;
  mounts.set(claimName, mount);
  const { format, bytes, virtualBytes } = metadata;
  return { image, claimName, mount, volumeMode: volumeModeOf(claim), format, bytes, virtualBytes, flatten };
}

/** A claim somebody else made may use any form of quantity; what cannot be read bounds nothing. */
function storageBytes(quantity: string | undefined): number {
  try {
    return Number(parseBytes(quantity ?? ''));
  } catch {
    return Number.MAX_SAFE_INTEGER;
  }
}
