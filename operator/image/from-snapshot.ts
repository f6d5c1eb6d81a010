/** Images of a snapshot's disk. Its layers are frozen: they are read where they are, without a lease. Pure. */
import type { ImageSource } from '../../crds/virtual-machine-image.ts';
import type { StoredSnapshot } from '../snapshot/resources.ts';
import { claimName } from '../virtual-machine/names.ts';
import type { Wait } from '../virtual-machine/waiting.ts';
import type { ImageWorld } from './world.ts';

type SnapshotSource = NonNullable<ImageSource['snapshot']>;

/** The disk that is meant, where the snapshot has it. */
function diskOf({ disk }: SnapshotSource, { status }: StoredSnapshot): string | undefined {
  const names = (status?.disks ?? []).map(({ name }) => name);
  if (disk !== undefined) return names.find((name) => name === disk);
  return names.length === 1 ? names[0] : undefined;
}

/** Name of the claim that the image is read from, once that is known. */
export function sourceClaimName(
  { claim, snapshot: source }: ImageSource,
  snapshot: StoredSnapshot | undefined,
): string | undefined {
  if (claim) return claim.name;
  const disk = source && snapshot && diskOf(source, snapshot);
  return disk === undefined || !snapshot ? undefined : claimName(snapshot.spec.virtualMachine, disk);
}

/** What has to come before the snapshot can be read. */
export function snapshotWait(
  { snapshot, sourceClaim }: ImageWorld,
  source: SnapshotSource,
): Wait | undefined {
  const { name } = source;
  if (!snapshot || snapshot.metadata.deletionTimestamp !== undefined) {
    return {
      reason: 'SnapshotNotFound',
      message: `VirtualMachineSnapshot ${name}, the source, ${snapshot ? 'is being deleted' : 'does not exist'}; create it, or make an image with another source.`,
    };
  }
  const { status } = snapshot;
  if (status?.phase !== 'Ready') {
    const why = status?.conditions?.find(({ type }) => type === 'Ready')?.message;
    return {
      reason: status?.phase === 'Failed' ? 'SnapshotFailed' : 'SnapshotNotReady',
      message: `VirtualMachineSnapshot ${name}, the source, is not ready${why === undefined ? '.' : `: ${why}`}`,
    };
  }
  if (diskOf(source, snapshot) === undefined) {
    const names = (status.disks ?? []).map((disk) => disk.name).join(', ');
    return {
      reason: 'DiskNotInSnapshot',
      message: `VirtualMachineSnapshot ${name} has the disks ${names}; make an image that names one of them in source.snapshot.disk.`,
    };
  }
  if (!sourceClaim || sourceClaim.metadata.deletionTimestamp !== undefined) {
    return {
      reason: 'SourceClaimNotFound',
      message: `The claim of VirtualMachine ${snapshot.spec.virtualMachine} that has the snapshot ${sourceClaim ? 'is being deleted' : 'does not exist any more'}; restore it, or make an image with another source.`,
    };
  }
  return undefined;
}
