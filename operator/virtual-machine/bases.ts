/** The images that a VM's disks begin as: which of them a disk still needs, and what keeps that one alive. Pure. */
import * as z from 'zod';
import { ANNOTATION } from '../../crds/api.ts';
import type { LauncherReport } from '../../crds/channel.ts';
import type { ImageMetadata } from '../../crds/mover.ts';
import { formatBytes, parsedBytes } from '../../crds/quantity.ts';
import type { DiskSpec } from '../../crds/virtual-machine.ts';
import { metadataOf } from '../image/metadata.ts';
import { imageClaimName } from '../image/names.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';
import type { Wait } from './waiting.ts';
import type { World } from './world.ts';

const baseRecord = z.strictObject({
  image: z.string(),
  imageUid: z.string(),
  claim: z.string(),
  claimUid: z.string(),
});
/** Written on a disk's claim when that is made, and taken off when the disk needs its image no more. */
export type BaseRecord = z.infer<typeof baseRecord>;

/** An image that a disk needs, as far as its machine and its pod need to know it. */
export interface DiskBase {
  image: string;
  claim: PersistentVolumeClaim;
  metadata: ImageMetadata;
  flatten: boolean;
}

export type BaseAnswer = { problem: Wait } | { base: DiskBase; record: BaseRecord } | { independent: true };

/** Nothing for a disk that is independent, or never began as an image. */
export function baseRecordOf(claim: PersistentVolumeClaim | undefined): BaseRecord | undefined {
  const json = claim?.metadata.annotations?.[ANNOTATION.base];
  if (json === undefined) return undefined;
  try {
    return baseRecord.safeParse(JSON.parse(json)).data;
  } catch {
    return undefined;
  }
}

/** @param claim of the disk; absent for a disk that is to be made, and for a cdrom, which is the image itself */
export function baseOf(world: World, disk: DiskSpec, claim: PersistentVolumeClaim | undefined): BaseAnswer {
  const { clone } = disk.source?.image ?? {};
  const name = disk.source?.image?.name ?? disk.source?.ephemeral?.image?.name ?? '';
  const flatten = clone !== 'Linked';
  if (claim) {
    const record = baseRecordOf(claim);
    if (!record) return { independent: true };
    const base = world.imageClaims.get(record.claim);
    const metadata = base?.metadata.uid === record.claimUid ? metadataOf(base) : undefined;
    if (base && metadata && base.metadata.deletionTimestamp === undefined) {
      return { base: { image: record.image, claim: base, metadata, flatten }, record };
    }
    const what =
      base?.metadata.deletionTimestamp === undefined ? 'does not hold it any more' : 'is being deleted';
    return {
      problem: {
        reason: 'ImageLost',
        message: `Disk ${disk.name} still needs image ${record.image}, and PersistentVolumeClaim ${record.claim}, which held it, ${what}; restore that claim, or the disk from a backup.`,
      },
    };
  }
  const image = world.images.get(name);
  if (!image || image.metadata.deletionTimestamp !== undefined) {
    return {
      problem: {
        reason: 'ImageNotFound',
        message: `VirtualMachineImage ${name} of disk ${disk.name} ${image ? 'is being deleted' : 'does not exist'}; create it, or name another one in spec.disks.`,
      },
    };
  }
  const base = world.imageClaims.get(imageClaimName(name, image.spec.source));
  const metadata = metadataOf(base);
  if (!base || !metadata || base.metadata.deletionTimestamp !== undefined) {
    const ready = image.status?.conditions?.find(({ type }) => type === 'Ready');
    const why = ready && ready.status !== 'True' ? ` (${ready.reason}): ${ready.message}` : '.';
    return {
      problem: {
        reason: 'ImageNotReady',
        message: `VirtualMachineImage ${name} of disk ${disk.name} is not ready; the VM starts when it is${why}`,
      },
    };
  }
  const size = parsedBytes(disk.claim?.size);
  if (size !== undefined && size < BigInt(metadata.virtualBytes)) {
    const has = formatBytes(BigInt(metadata.virtualBytes));
    return {
      problem: {
        reason: 'ImageTooLarge',
        message: `The disk in VirtualMachineImage ${name} has ${has}, the claim of disk ${disk.name} only ${disk.claim?.size}; raise its claim.size.`,
      },
    };
  }
  const record = {
    image: name,
    imageUid: image.metadata.uid ?? '',
    claim: base.metadata.name,
    claimUid: base.metadata.uid,
  };
  return { base: { image: name, claim: base, metadata, flatten }, record };
}

type Owner = NonNullable<PersistentVolumeClaim['metadata']['ownerReferences']>[number];

const ownedBy = (claim: PersistentVolumeClaim): Owner => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  name: claim.metadata.name,
  uid: claim.metadata.uid,
});

/**
 * Owners of an image's claim with these disks' claims among them, where they are not yet: Kubernetes deletes it when
 * the last owner is gone. A claim without any owner is one that stays (Retain).
 */
export function ownersWith(
  base: PersistentVolumeClaim,
  disks: readonly PersistentVolumeClaim[],
): Owner[] | undefined {
  const owners = base.metadata.ownerReferences ?? [];
  const missing = disks.filter(({ metadata: { uid } }) => !owners.some((owner) => owner.uid === uid));
  return owners.length === 0 || missing.length === 0 ? undefined : [...owners, ...missing.map(ownedBy)];
}

/** Owners of an image's claim without this disk's, where it is among them. */
export function ownersWithout(base: PersistentVolumeClaim, disk: PersistentVolumeClaim): Owner[] | undefined {
  const owners = base.metadata.ownerReferences ?? [];
  const rest = owners.filter(({ uid }) => uid !== disk.metadata.uid);
  if (rest.length === owners.length) return undefined;
  // Without any owner it would stay for ever; with one that is gone, Kubernetes deletes it.
  const record = baseRecordOf(disk);
  if (rest.length > 0 || !record) return rest;
  return [
    {
      apiVersion: 'vmstead.io/v1alpha1',
      kind: 'VirtualMachineImage',
      name: record.image,
      uid: record.imageUid,
    },
  ];
}

/** Whether the launcher says that a disk needs its image no more, power cuts included. */
export const isIndependent = (report: LauncherReport | undefined, disk: string): boolean =>
  report?.disks?.find(({ name }) => name === disk)?.base?.state === 'Independent';
