/** Names that are derived, never stored: lost status or not, the same image has the same claim. */
import { createHash } from 'node:crypto';
import type { ImageSource } from '../../crds/virtual-machine-image.ts';

/** Name of the pod of one attempt to bring an image in: a mutex, as two pods cannot share it. */
export const moverPodName = (image: string, attempt: number): string => `image-${image}-${attempt}`;

/** The attempt in the name of a mover pod, or 0 where the name is not one of this image's. */
export function attemptOf(image: string, podName: string | undefined): number {
  const attempt = Number(podName?.slice(moverPodName(image, 0).length - 1));
  return Number.isInteger(attempt) && attempt > 0 && podName === moverPodName(image, attempt) ? attempt : 0;
}

/**
 * Name of the claim that holds an image: of its name and its source, so that an image made anew with another
 * source never takes the data of the old one, which VMs may still need.
 */
export function imageClaimName(image: string, source: ImageSource): string {
  const digest = createHash('sha256')
    .update(JSON.stringify(sorted(source)))
    .digest('hex');
  return `image-${image}-${digest.slice(0, 8)}`;
}

function sorted(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([name, each]) => [name, sorted(each)]));
}
