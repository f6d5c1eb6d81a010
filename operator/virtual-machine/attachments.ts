/** The pods through which disks were plugged into a VM that runs: one claim each, for one life of the VM. */
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { ATTACHMENT_CONTAINER } from '../../crds/attachment.ts';
import { controllerUid } from '../kube/object.ts';
import type { Lease, Pod } from '../kube/resources.ts';
import { holdersOf } from '../ownership/claim-lease.ts';
import { type EndOfRun, endOfRun } from '../ownership/proof-of-end.ts';
import type { World } from './world.ts';

export interface Attachment {
  pod: Pod;
  disk: string;
  attempt: number;
  /** UID of the launcher pod that it serves, and that owns it. */
  launcher: string | undefined;
  claimUid: string | undefined;
  deleting: boolean;
  /** Absent: it may still write. */
  end: EndOfRun | undefined;
}

/** All that still have a pod object, oldest first. */
export function attachmentsOf(world: World): Attachment[] {
  const nodes = new Map(world.nodes.map((node) => [node.metadata.name, node]));
  return world.attachments
    .map((pod) => ({
      pod,
      disk: pod.metadata.labels?.[LABEL.disk] ?? '',
      attempt: Number(pod.metadata.labels?.[LABEL.attempt] ?? '0'),
      launcher: controllerUid(pod),
      claimUid: pod.metadata.annotations?.[ANNOTATION.claimUid],
      deleting: pod.metadata.deletionTimestamp !== undefined,
      end: endOfRun(pod, nodes.get(pod.spec?.nodeName ?? ''), world.now, ATTACHMENT_CONTAINER),
    }))
    .sort((a, b) => a.attempt - b.attempt);
}

/**
 * Name of the pod of one attempt to attach a disk to one life of a VM: a mutex, as two pods cannot share it. No name
 * of a VM or a disk has a dot, so that no two of them make the same one.
 */
export const attachmentName = (launcher: string, disk: string, attempt: number): string =>
  `${launcher}.${disk}.${attempt}`;

/** The attempt in the name of a pod, or 0 where it is not one of this launcher and disk. */
function attemptIn(launcher: string, disk: string, pod: string): number {
  const attempt = Number(pod.slice(attachmentName(launcher, disk, 0).length - 1));
  return Number.isInteger(attempt) && attempt > 0 && pod === attachmentName(launcher, disk, attempt)
    ? attempt
    : 0;
}

/** The highest attempt that a pod or a lease still knows of. */
export function highestAttempt(
  launcher: string,
  disk: string,
  attachments: readonly Attachment[],
  leases: readonly Lease[],
): number {
  return Math.max(
    0,
    ...attachments.map(({ pod }) => attemptIn(launcher, disk, pod.metadata.name)),
    ...leases.flatMap(holdersOf).map((holder) => attemptIn(launcher, disk, holder)),
  );
}

/** Name of the launcher pod in the name of an attachment pod; nothing for another name. */
export const launcherOfHolder = (holder: string): string | undefined =>
  /^([^.]+)\..+\.[0-9]+$/.exec(holder)?.[1];
