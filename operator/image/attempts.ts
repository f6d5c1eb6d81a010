/** An image's mover pods as attempts, over or not. */
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { type ImageInspection, type ImageMetadata, type MoverResult, moverResult } from '../../crds/mover.ts';
import { controllerUid } from '../kube/object.ts';
import type { Pod } from '../kube/resources.ts';
import { endOfRun } from '../ownership/proof-of-end.ts';
import { attemptOf } from './names.ts';
import type { ImageWorld } from './world.ts';

/** Name of the one container of a mover pod. */
export const MOVER_CONTAINER = 'mover';

export type AttemptEnd =
  | { result: 'Succeeded'; image: ImageMetadata; finishedAt: string }
  /** It only looked at the source. */
  | { result: 'Inspected'; inspection: ImageInspection; finishedAt: string }
  | { result: 'Failed'; code: string; message: string; retry: boolean; finishedAt: string };

export interface Attempt {
  pod: Pod;
  number: number;
  /** Of this very image object, not of an older one with its name. */
  own: boolean;
  deleting: boolean;
  /** Generation of the image's spec that it was made for. */
  generation: number;
  /** UID of the claim that it writes to; absent: it only looks at the source. */
  claimUid: string | undefined;
  /** Absent: it may still run. */
  end: AttemptEnd | undefined;
}

/** All attempts that still have a pod object, oldest first. */
export function attemptsOf(world: ImageWorld): Attempt[] {
  const nodes = new Map(world.nodes.map((node) => [node.metadata.name, node]));
  return world.pods
    .map((pod) => {
      const { annotations, labels, deletionTimestamp } = pod.metadata;
      return {
        pod,
        number: Number(labels?.[LABEL.attempt] ?? '0'),
        own: world.image !== undefined && controllerUid(pod) === world.image.metadata.uid,
        deleting: deletionTimestamp !== undefined,
        generation: Number(annotations?.[ANNOTATION.generation] ?? '0'),
        claimUid: annotations?.[ANNOTATION.claimUid],
        end: endOfAttempt(pod, nodes.get(pod.spec?.nodeName ?? ''), world.now),
      };
    })
    .sort((a, b) => a.number - b.number);
}

/** The highest number that anything still knows of: pods, leases, the status. */
export function highestAttempt(world: ImageWorld, attempts: readonly Attempt[]): number {
  return Math.max(
    0,
    world.image?.status?.attempts ?? 0,
    ...attempts.map(({ number }) => number),
    ...world.ownLeases.map((lease) => attemptOf(world.name, lease.spec?.holderIdentity)),
  );
}

function endOfAttempt(pod: Pod, node: ImageWorld['nodes'][number] | undefined, now: number) {
  const proof = endOfRun(pod, node, now, MOVER_CONTAINER);
  if (!proof) return undefined;
  const { finishedAt } = proof;
  const said = resultOf(pod);
  if (said?.result === 'Succeeded' && said.image) {
    return { result: 'Succeeded' as const, image: said.image, finishedAt };
  }
  if (said?.result === 'Succeeded' && said.inspection) {
    return { result: 'Inspected' as const, inspection: said.inspection, finishedAt };
  }
  if (said?.result === 'Failed') {
    const { code, message, retry } = said;
    return { result: 'Failed' as const, code, message, retry, finishedAt };
  }
  // Ended from outside: by its node, the kubelet or a person. What was written stays, and the next one goes on.
  return { result: 'Failed' as const, code: proof.result, message: proof.message, retry: true, finishedAt };
}

function resultOf(pod: Pod): MoverResult | undefined {
  const message = pod.status?.containerStatuses?.find(({ name }) => name === MOVER_CONTAINER)?.state
    ?.terminated?.message;
  if (!message?.startsWith('{')) return undefined;
  try {
    return moverResult.safeParse(JSON.parse(message)).data;
  } catch {
    return undefined;
  }
}
