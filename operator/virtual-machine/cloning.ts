/**
 * Disks that the storage itself makes as a copy of an image: a CSI clone of the image's claim. Chosen by what is
 * there, never by a class's name: the image's volume belongs to a CSI driver, and the disk's class is that driver's.
 * No API object says whether a driver can clone; it is asked to, and what it refuses is made as an overlay. Pure.
 */
import * as z from 'zod';
import { ANNOTATION } from '../../crds/api.ts';
import { diskClaimSizeFor, type VolumeMode } from '../../crds/claim-size.ts';
import { formatBytes, parsedBytes } from '../../crds/quantity.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';
import { baseRecordOf, type DiskBase } from './bases.ts';
import type { World } from './world.ts';

const cloneRecord = z.strictObject({ image: z.string(), format: z.enum(['raw', 'qcow2']) });
/** Written on a disk's claim when that is made as a clone, for good: what its volume holds. */
export type CloneRecord = z.infer<typeof cloneRecord>;

/** What is known of the storage; looked up only while a disk is being made. */
export interface Cloning {
  /** CSI drivers of the volumes of images' claims, by claim. */
  drivers: ReadonlyMap<string, string>;
  /** By storage class; the default one has the name ''. */
  provisioners: ReadonlyMap<string, string>;
  /** Clones that were not made so far, by claim: the driver's words, and since when (milliseconds since the epoch). */
  failures: ReadonlyMap<string, { words: string; since: number }>;
}

interface Template {
  size?: string | undefined;
  storageClassName?: string | undefined;
  volumeMode?: VolumeMode | undefined;
}

/** Milliseconds that a driver may fail to clone, for whatever reason, before it is not waited for any more. */
const PATIENCE = 60_000;
const NEVER =
  /(clon|data ?source|content ?source).*(not support|unsupported|unimplemented|not implemented)|(not support|unsupported|unimplemented|not implemented).*(clon|data ?source|content ?source)/is;

export function cloneRecordOf(claim: PersistentVolumeClaim | undefined): CloneRecord | undefined {
  const json = claim?.metadata.annotations?.[ANNOTATION.clone];
  if (json === undefined) return undefined;
  try {
    return cloneRecord.safeParse(JSON.parse(json)).data;
  } catch {
    return undefined;
  }
}

/** How the storage can make this disk by itself, if it can: the record for its claim, and the claim's size. */
export function cloneOf(
  { cloning }: World,
  template: Template,
  { image, claim, metadata, flatten }: DiskBase,
): { record: CloneRecord; size: string } | undefined {
  const { format, virtualBytes } = metadata;
  const driver = cloning.drivers.get(claim.metadata.name);
  // A linked disk shares what the image has; VMDK and its like are nothing to write to.
  if (!flatten || driver === undefined || (format !== 'raw' && format !== 'qcow2')) return undefined;
  if (cloning.provisioners.get(template.storageClassName ?? '') !== driver) return undefined;
  if ((template.volumeMode ?? 'Filesystem') !== (claim.spec?.volumeMode ?? 'Filesystem')) return undefined;
  if (cloneRefusal(claim) !== undefined) return undefined;
  // A clone is at least as large as what it is a clone of.
  const least = parsedBytes(claim.status?.capacity?.storage);
  const wanted = parsedBytes(template.size ?? diskClaimSizeFor(virtualBytes, template.volumeMode));
  if (least === undefined || wanted === undefined) return undefined;
  if (template.size !== undefined && wanted < least) return undefined;
  return { record: { image, format }, size: template.size ?? formatBytes(larger(wanted, least)) };
}

/** Why the storage does not clone an image's claim, if it has said so. */
export const cloneRefusal = (base: PersistentVolumeClaim | undefined): string | undefined =>
  base?.metadata.annotations?.[ANNOTATION.cloneRefused];

/** Whether the storage has not made this claim's volume yet. */
export const isUnmade = (claim: PersistentVolumeClaim): boolean =>
  claim.status?.phase !== 'Bound' && claim.spec?.volumeName === undefined;

/** The driver's words, when a clone is not waited for any more. */
export function givenUp({ cloning, now }: World, claim: PersistentVolumeClaim): string | undefined {
  const failure = isUnmade(claim) ? cloning.failures.get(claim.metadata.name) : undefined;
  if (!failure) return undefined;
  return NEVER.test(failure.words) || now - failure.since > PATIENCE ? failure.words : undefined;
}

/** The image's claim that a clone is being made of; nothing when it is made. */
export const sourceOf = (
  { imageClaims }: World,
  claim: PersistentVolumeClaim,
): PersistentVolumeClaim | undefined => {
  const record = baseRecordOf(claim);
  const base = imageClaims.get(record?.claim ?? '');
  return base?.metadata.uid === record?.claimUid ? base : undefined;
};

const larger = (...sizes: [bigint, bigint]): bigint => sizes.sort((a, b) => (a < b ? -1 : 1))[1];
