/** The status of an image, computed in one place from what was decided. Pure. */
import type { Condition } from '../../crds/kubernetes.ts';
import type { MoverProgress } from '../../crds/mover.ts';
import { formatBytes } from '../../crds/quantity.ts';
import type { VirtualMachineImageStatus } from '../../crds/virtual-machine-image.ts';
import { type Wait, waitOf } from '../virtual-machine/waiting.ts';
import { MOVER_CONTAINER } from './attempts.ts';
import { type ImageDecision, uploadCommand } from './plan.ts';
import type { ImageWorld } from './world.ts';

const LONGEST_MESSAGE = 1024;

const MOVER = {
  container: MOVER_CONTAINER,
  name: 'the mover',
  needs: 'the image',
  pullSecrets: "the node's own access to the registry",
};

interface Stage {
  phase: NonNullable<VirtualMachineImageStatus['phase']>;
  ready: boolean;
  reason: string;
  message: string;
  stalled: boolean;
}

/** `refusal`: why the API server refused what the plan wanted, if it did. */
export function imageStatusOf(
  world: ImageWorld,
  decision: ImageDecision,
  refusal: Wait | undefined,
): VirtualMachineImageStatus {
  const { image, metadata, alive, lastFailure } = decision;
  const progress = alive ? world.progress.get(alive.pod.metadata.uid) : undefined;
  const stage = stageOf(world, decision, progress, refusal);
  const status: VirtualMachineImageStatus = {
    observedGeneration: image.metadata.generation ?? 1,
    phase: stage.phase,
    claimName: decision.claimName,
    attempts: decision.attempts,
    conditions: conditionsOf(world, decision, stage),
  };
  if (metadata) {
    status.format = metadata.format;
    status.virtualSize = formatBytes(BigInt(metadata.virtualBytes));
    status.actualSize = formatBytes(BigInt(metadata.actualBytes));
    status.sha256 = metadata.sha256;
    status.importedAt = metadata.completedAt;
    return status;
  }
  const shown = progressOf(world, progress) ?? (alive ? image.status?.progress : undefined);
  if (shown) status.progress = shown;
  if (alive) status.podName = alive.pod.metadata.name;
  const lastError = lastFailure ? `${lastFailure.code}: ${lastFailure.message}` : image.status?.lastError;
  if (lastError !== undefined) status.lastError = lastError.slice(0, LONGEST_MESSAGE);
  return status;
}

function progressOf(
  { now }: ImageWorld,
  progress: MoverProgress | undefined,
): VirtualMachineImageStatus['progress'] {
  if (!progress) return undefined;
  const { transferredBytes, totalBytes, bytesPerSecond, etaSeconds } = progress;
  return {
    transferredBytes,
    ...(totalBytes === undefined ? {} : { totalBytes }),
    // Rounded down: 100% is when it is done.
    ...(totalBytes ? { percent: `${Math.min(99, Math.floor((transferredBytes / totalBytes) * 100))}%` } : {}),
    bytesPerSecond,
    // To whole seconds, so that a steady import's status does not change for the time alone.
    ...(etaSeconds === undefined
      ? {}
      : { eta: new Date(Math.round((now + etaSeconds * 1000) / 1000) * 1000).toISOString() }),
  };
}

function stageOf(
  world: ImageWorld,
  decision: ImageDecision,
  progress: MoverProgress | undefined,
  refusal: Wait | undefined,
): Stage {
  const { metadata, alive, wait, stalled, image } = decision;
  const stage = (phase: Stage['phase'], reason: string, message: string): Stage => ({
    phase,
    ready: phase === 'Ready',
    reason,
    message,
    stalled: false,
  });
  if (metadata) return stage('Ready', 'Complete', 'The image is complete, and its checksum is known.');
  if (refusal) return stage('Pending', refusal.reason, refusal.message);
  if (wait) return { ...stage(stalled ? 'Failed' : 'Pending', wait.reason, wait.message), stalled };
  if (!alive) return stage('Pending', 'Scheduling', 'Waiting for the scheduler to choose a node.');
  const state = alive.pod.status?.containerStatuses?.find(({ name }) => name === MOVER_CONTAINER)?.state;
  if (alive.deleting)
    return stage('Importing', 'Interrupted', 'Waiting for the mover to end; another one goes on.');
  if (!state?.running) {
    const waiting = waitOf(alive.pod, world.nodes, world.warnings, MOVER);
    return stage('Pending', waiting.reason, waiting.message);
  }
  if (alive.claimUid === undefined)
    return stage('Pending', 'Inspecting', 'The mover looks how large a claim the source needs.');
  switch (progress?.phase) {
    case 'Transferring':
      return stage('Importing', 'Transferring', 'The image is being written; see status.progress.');
    case 'Verifying':
      return stage('Importing', 'Verifying', 'All bytes are there; the image is being checked.');
    case 'Waiting':
      return image.spec.source.upload
        ? stage(
            progress.transferredBytes > 0 ? 'Importing' : 'Pending',
            'WaitingForUpload',
            uploadCommand(world),
          )
        : stage('Importing', 'SourceLost', progress.message ?? 'The source is tried again.');
    default:
      return stage('Importing', 'Connecting', 'The mover connects to the source.');
  }
}

function conditionsOf(world: ImageWorld, { image }: ImageDecision, stage: Stage): Condition[] {
  const at = new Date(world.now).toISOString();
  const { reason } = stage;
  const message = stage.message.slice(0, LONGEST_MESSAGE);
  const drafts: [string, 'True' | 'False'][] = [['Ready', stage.ready ? 'True' : 'False']];
  // As kstatus reads them: there only while they are True.
  if (!stage.ready) drafts.push([stage.stalled ? 'Stalled' : 'Reconciling', 'True']);
  return drafts.map(([type, status]) => {
    const before = image.status?.conditions?.find((each) => each.type === type);
    return {
      type,
      status,
      reason,
      message,
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : at,
      observedGeneration: image.metadata.generation ?? 1,
    };
  });
}
