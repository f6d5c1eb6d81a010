/** Which news of a VM may wait a moment, so that steps that follow each other closely are one write. Pure. */
import type { VirtualMachineStatus } from '../../crds/virtual-machine.ts';

/** Steps of a start: each lasts a fraction of a second where nothing is wrong, and is told where it lasts longer. */
const STARTING = new Set(['Scheduling', 'Starting']);

/**
 * Whether nobody is misled who reads `before` for a second longer: the same life of the VM, in the same phase
 * (the steps of a start are one), with the same conditions; only addresses, versions, sizes or words differ.
 */
export function mayWait(before: VirtualMachineStatus | undefined, after: VirtualMachineStatus): boolean {
  return before !== undefined && essence(before) === essence(after);
}

function essence(status: VirtualMachineStatus): string {
  const starting = STARTING.has(status.phase ?? '');
  const { observedGeneration, power, launcher, lastRun, crashLoop, restartRequired } = status;
  const conditions = (status.conditions ?? [])
    // While it starts, whether the launcher has called already is a step too.
    .filter(({ type }) => !(starting && type === 'ControlReachable'))
    .map((each) => [each.type, each.status, starting ? '' : each.reason]);
  return JSON.stringify([
    observedGeneration,
    starting ? 'Starting' : status.phase,
    launcher?.podUID,
    launcher?.incarnation,
    power,
    lastRun?.podUID,
    crashLoop,
    restartRequired,
    conditions,
  ]);
}
