import type { OperatorDeps } from './deps.ts';
import type { Controller } from './kube/controller.ts';
import { virtualMachineController } from './virtual-machine/controller.ts';

/** All controllers of the operator; each makes the caches that it reads through `deps.cache`. */
export function controllers(deps: OperatorDeps): Controller[] {
  return [virtualMachineController(deps)];
}
