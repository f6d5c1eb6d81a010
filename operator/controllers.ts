import type { OperatorDeps } from './deps.ts';
import { imageController } from './image/controller.ts';
import type { Controller } from './kube/controller.ts';
import { sharedCaches } from './shared-caches.ts';
import { snapshotController } from './snapshot/controller.ts';
import { snapshotScheduleController } from './snapshot-schedule/controller.ts';
import { machineDefaults, virtualMachineController } from './virtual-machine/controller.ts';

/** All controllers of the operator; each makes the caches that it reads through `deps.cache`. */
export function controllers(deps: OperatorDeps): Controller[] {
  const shared = sharedCaches(deps);
  const defaults = machineDefaults(deps);
  return [
    virtualMachineController(deps, shared, defaults),
    imageController(deps, shared, defaults),
    snapshotController(deps, shared),
    snapshotScheduleController(deps, shared),
  ];
}
