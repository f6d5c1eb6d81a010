/** The pod that looks after the disks of a VM that is off, for as long as there is something to do. Pure. */
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import { unsupported } from '../snapshot/plan.ts';
import type { StoredSnapshot } from '../snapshot/resources.ts';
import type { Run } from './runs.ts';
import type { World } from './world.ts';

interface OffPlan {
  /** The pod that may be alive. */
  alive: Run | undefined;
  /** There is something to do and nobody does it. */
  start: boolean;
  /** Those that have nothing to do any more. */
  end: Run[];
  /** Finished pods that stay for a while: they failed, and the next one waits for so long. */
  keep: Run[];
  /** Milliseconds until that is over. */
  after: number | undefined;
}

/** Milliseconds after one that failed. */
const BACKOFF = 30_000;

export function planOff({ now, snapshots }: World, vm: VirtualMachine, runs: readonly Run[]): OffPlan {
  const tasks = runs.filter(({ task }) => task);
  const alive = tasks.filter(({ end }) => !end).at(-1);
  const open = snapshots.filter((each) => isOpen(vm, each));
  const left = (run: Run): number => {
    if (!run.end || run.deleting || run.end.result === 'Stopped') return 0;
    return Date.parse(run.end.finishedAt) + BACKOFF - now;
  };
  const keep = tasks.filter((run) => left(run) > 0);
  return {
    alive,
    start: !alive && keep.length === 0 && open.some(({ status }) => status?.phase !== 'Ready'),
    end: tasks.filter((run) => !run.end && !run.deleting && (!run.own || open.length === 0)),
    keep,
    after: keep.length === 0 ? undefined : Math.max(...keep.map(left)),
  };
}

/** Neither failed nor finished with all its checksums; what needs the running guest is not for this pod. */
function isOpen(vm: VirtualMachine, snapshot: StoredSnapshot): boolean {
  const { metadata, spec, status } = snapshot;
  if (metadata.deletionTimestamp !== undefined || spec.memory === 'Include') return false;
  if (status?.phase === 'Failed' || unsupported(vm, snapshot) !== undefined) return false;
  return !status?.conditions?.some((each) => each.type === 'Verified' && each.status === 'True');
}
