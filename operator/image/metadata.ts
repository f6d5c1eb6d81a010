/** What an image's claim holds, as its annotation says: the truth that a lost status is written anew from. */
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { type ImageMetadata, imageMetadata } from '../../crds/mover.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';

/** Nothing while the image is not complete. */
export function metadataOf(claim: PersistentVolumeClaim | undefined): ImageMetadata | undefined {
  const json = claim?.metadata.annotations?.[ANNOTATION.image];
  if (json === undefined) return undefined;
  try {
    return imageMetadata.safeParse(JSON.parse(json)).data;
  } catch {
    return undefined;
  }
}

/** Name of the image that a claim was made for, if it was made for one. */
export const imageOfClaim = (claim: PersistentVolumeClaim): string | undefined =>
  claim.metadata.labels?.[LABEL.image];
