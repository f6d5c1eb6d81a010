/** The status of a snapshot, in its four forms. Pure. */
import type { Condition } from '../../crds/kubernetes.ts';
import { formatBytes } from '../../crds/quantity.ts';
import type { SnapshotReport } from '../../crds/snapshot-order.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { VirtualMachineSnapshotStatus } from '../../crds/virtual-machine-snapshot.ts';
import { stateClaimName } from '../virtual-machine/names.ts';
import type { StoredSnapshot } from './resources.ts';

const LONGEST_MESSAGE = 1024;

export function pending(now: number, snapshot: StoredSnapshot, reason: string, message: string) {
  return compose(now, snapshot, 'Pending', [
    ['Ready', 'False', reason, message],
    ['Reconciling', 'True', reason, message],
  ]);
}

export function taking(now: number, snapshot: StoredSnapshot, message: string) {
  return compose(now, snapshot, 'InProgress', [
    ['Ready', 'False', 'InProgress', message],
    ['Reconciling', 'True', 'InProgress', message],
  ]);
}

/** For good: the object says why until it is deleted. */
export function failed(now: number, snapshot: StoredSnapshot, reason: string, message: string) {
  return compose(now, snapshot, 'Failed', [
    ['Ready', 'False', reason, message],
    ['Stalled', 'True', reason, message],
  ]);
}

export function ready(
  now: number,
  snapshot: StoredSnapshot,
  vm: VirtualMachine,
  report: SnapshotReport,
): VirtualMachineSnapshotStatus {
  const sums = [...report.disks.map((disk) => disk.sha256), ...(report.memory ? [report.memory.sha256] : [])];
  const verified = sums.every((sum) => sum !== undefined);
  const { memory, disks, pause } = report;
  const sum = (sha256: string | undefined) => (sha256 === undefined ? {} : { sha256 });
  return {
    ...compose(now, snapshot, 'Ready', [
      ['Ready', 'True', 'Taken', 'It can be gone back to.'],
      verified
        ? [
            'Verified',
            'True',
            'Checksums',
            'Everything of it has a checksum, which a restore looks at first.',
          ]
        : ['Verified', 'False', 'Reading', 'Its checksums are being made.'],
    ]),
    consistency: memory ? 'Memory' : report.frozen ? 'Filesystem' : 'Crash',
    takenAt: report.at,
    ...(pause === undefined ? {} : { pauseMilliseconds: pause }),
    ...(vm.metadata.uid === undefined ? {} : { virtualMachineUID: vm.metadata.uid }),
    ...(memory
      ? {
          memory: {
            claimName: stateClaimName(vm.metadata.name),
            size: formatBytes(BigInt(memory.bytes)),
            ...sum(memory.sha256),
          },
        }
      : {}),
    disks: disks.map(({ name, bytes, sha256 }) => ({
      name,
      size: formatBytes(BigInt(bytes)),
      ...sum(sha256),
    })),
  };
}

type Row = [type: string, status: 'True' | 'False', reason: string, message: string];

function compose(
  now: number,
  { metadata, status }: StoredSnapshot,
  phase: NonNullable<VirtualMachineSnapshotStatus['phase']>,
  rows: readonly Row[],
): VirtualMachineSnapshotStatus {
  const conditions = rows.map(([type, state, reason, message]): Condition => {
    const before = status?.conditions?.find((each) => each.type === type);
    const lastTransitionTime =
      before?.status === state ? before.lastTransitionTime : new Date(now).toISOString();
    return { type, status: state, reason, message: message.slice(0, LONGEST_MESSAGE), lastTransitionTime };
  });
  return { observedGeneration: metadata.generation ?? 1, phase, conditions };
}
