/** What the operations of one VM ask for now, and how far each one is. Pure. */
import type { CommandName } from '../../crds/channel.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type {
  OperationType,
  VirtualMachineOperation,
  VirtualMachineOperationStatus,
} from '../../crds/virtual-machine-operation.ts';
import type { CommandResult } from '../channel/registry.ts';
import type { Power } from '../virtual-machine/power.ts';
import { runStrategyOf } from '../virtual-machine/resolve.ts';
import { failed, inProgress, succeeded } from './status.ts';

const DEFAULT_TTL_SECONDS = 3600;

/** What the operations need to know of the VM. */
export interface Situation {
  now: number;
  vm: VirtualMachine;
  power: Power;
  highestIncarnation: number;
  /** The run that is alive, if there is one. */
  alive:
    | {
        incarnation: number;
        state: 'Starting' | 'Running' | 'Paused' | 'IoError' | 'Stopping' | 'Unknown';
        /** What its launcher answered to commands, by the UID of their operation. */
        results: ReadonlyMap<string, CommandResult>;
      }
    | undefined;
  /** Why the VM is not running yet, in the words of its Running condition. */
  waitingFor: string;
  /** The reason of that condition. */
  reason: string;
}

export interface OperationUpdate {
  operation: VirtualMachineOperation;
  status: VirtualMachineOperationStatus;
}

export interface OperationsPlan {
  power: Power;
  /** End this incarnation and those before it; by force: without waiting for the guest. */
  end: { upTo: number; force: boolean } | undefined;
  commands: { operation: VirtualMachineOperation; name: CommandName }[];
  updates: OperationUpdate[];
  /** Operations whose time to live is over. */
  expired: VirtualMachineOperation[];
  /** Milliseconds until the next one expires. */
  expiresIn: number | undefined;
}

const isFinished = (operation: VirtualMachineOperation): boolean =>
  operation.status?.phase === 'Succeeded' || operation.status?.phase === 'Failed';

const changesPower = (type: OperationType): boolean =>
  type === 'Start' || type === 'Stop' || type === 'Restart';

export function planOperations(
  situation: Situation,
  operations: readonly VirtualMachineOperation[],
): OperationsPlan {
  const plan: OperationsPlan = {
    power: situation.power,
    end: undefined,
    commands: [],
    updates: [],
    expired: [],
    expiresIn: undefined,
  };
  const open = operations.filter((operation) => !isFinished(operation)).sort(byAge);
  const lastPower = open.filter((operation) => changesPower(operation.spec.type)).at(-1);
  for (const operation of open) {
    const superseded = changesPower(operation.spec.type) && operation !== lastPower;
    const status = superseded
      ? failed(
          situation,
          operation,
          'Superseded',
          `Superseded by ${lastPower?.spec.type} operation ${lastPower?.metadata.name}.`,
        )
      : advance(situation, plan, operation);
    if (status && differs(operation.status, status)) plan.updates.push({ operation, status });
  }
  return { ...plan, ...expiry(situation.now, operations) };
}

/** Milliseconds that an operation waits for its VM: the two may have been applied together. */
const ARRIVAL = 5000;

/** What becomes of operations whose VM is not there, or is going. */
export function planOrphans(
  now: number,
  operations: readonly VirtualMachineOperation[],
): Pick<OperationsPlan, 'updates' | 'expired'> & { after: number | undefined } {
  const plan = { updates: [] as OperationUpdate[], expired: [] as VirtualMachineOperation[] };
  const times: number[] = [];
  for (const operation of operations) {
    if (isFinished(operation)) continue;
    const left = Date.parse(operation.metadata.creationTimestamp ?? '') + ARRIVAL - now;
    if (left > 0) {
      times.push(left);
      continue;
    }
    const message = `There is no VirtualMachine ${operation.spec.virtualMachine} in this namespace.`;
    plan.updates.push({
      operation,
      status: failed({ now, alive: undefined }, operation, 'NotFound', message),
    });
  }
  const { expired, expiresIn } = expiry(now, operations);
  if (expiresIn !== undefined) times.push(expiresIn);
  return { ...plan, expired, after: times.length > 0 ? Math.min(...times) : undefined };
}

function byAge(a: VirtualMachineOperation, b: VirtualMachineOperation): number {
  const [first, second] = [a, b].map((each) => each.metadata.creationTimestamp ?? '') as [string, string];
  if (first !== second) return first < second ? -1 : 1;
  return Number(a.metadata.resourceVersion ?? 0) - Number(b.metadata.resourceVersion ?? 0);
}

type Step = (
  situation: Situation,
  plan: OperationsPlan,
  operation: VirtualMachineOperation,
) => VirtualMachineOperationStatus | undefined;

const advance: Step = (situation, plan, operation) => STEPS[operation.spec.type](situation, plan, operation);

const STEPS: Record<OperationType, Step> = {
  Start: (situation, plan, operation) => bringUp(situation, plan, operation, false),
  Restart: (situation, plan, operation) => bringUp(situation, plan, operation, true),
  Stop: stop,
  Pause: (situation, plan, operation) => command(situation, plan, operation, 'pause', 'Paused'),
  Resume: (situation, plan, operation) => command(situation, plan, operation, 'resume', 'Running'),
  Reset: (situation, plan, operation) => command(situation, plan, operation, 'reset', undefined),
};

const begun = (plan: OperationsPlan, operation: VirtualMachineOperation): boolean =>
  plan.power.operationUID === operation.metadata.uid;

function setPower(
  { vm }: Situation,
  plan: OperationsPlan,
  operation: VirtualMachineOperation,
  state: 'Running' | 'Stopped',
  afterIncarnation: number,
): void {
  plan.power = {
    state,
    runStrategy: runStrategyOf(vm.spec),
    afterIncarnation,
    operation: operation.metadata.name,
    ...(operation.metadata.uid === undefined ? {} : { operationUID: operation.metadata.uid }),
  };
}

function bringUp(
  situation: Situation,
  plan: OperationsPlan,
  operation: VirtualMachineOperation,
  again: boolean,
): VirtualMachineOperationStatus {
  const { vm, alive, highestIncarnation } = situation;
  if (runStrategyOf(vm.spec) === 'Halted') {
    return failed(
      situation,
      operation,
      'HaltedBySpec',
      'spec.runStrategy is Halted, which keeps the VM off; set it to Manual or Always instead.',
    );
  }
  if (!begun(plan, operation)) {
    // A Start leaves what runs alone; a Restart asks for a run after it.
    setPower(
      situation,
      plan,
      operation,
      'Running',
      alive && !again ? alive.incarnation - 1 : highestIncarnation,
    );
  }
  const after = plan.power.afterIncarnation;
  if (alive && alive.incarnation <= after) {
    plan.end = { upTo: after, force: operation.spec.force === true };
    return inProgress(situation, operation, 'Waiting for the guest to power itself off.');
  }
  if (alive && (alive.state === 'Running' || alive.state === 'Paused' || alive.state === 'IoError')) {
    return succeeded(situation, operation, `The VM runs (incarnation ${alive.incarnation}).`);
  }
  const lastRun = vm.status?.lastRun;
  if (!alive && lastRun && lastRun.incarnation > after) {
    return failed(
      situation,
      operation,
      lastRun.result,
      `The VM ended before it was running: ${lastRun.message}`,
    );
  }
  return inProgress(situation, operation, situation.waitingFor);
}

function stop(
  situation: Situation,
  plan: OperationsPlan,
  operation: VirtualMachineOperation,
): VirtualMachineOperationStatus {
  const { alive, highestIncarnation } = situation;
  if (!begun(plan, operation)) setPower(situation, plan, operation, 'Stopped', highestIncarnation);
  if (!alive) return succeeded(situation, operation, 'The VM is off.');
  plan.end = { upTo: highestIncarnation, force: operation.spec.force === true };
  return inProgress(
    situation,
    operation,
    alive.state === 'Unknown'
      ? situation.waitingFor
      : operation.spec.force === true
        ? 'Waiting for the launcher to end.'
        : 'Waiting for the guest to power itself off.',
  );
}

function command(
  situation: Situation,
  plan: OperationsPlan,
  operation: VirtualMachineOperation,
  name: CommandName,
  reached: 'Running' | 'Paused' | undefined,
): VirtualMachineOperationStatus | undefined {
  const { alive } = situation;
  const { type } = operation.spec;
  if (!alive || alive.state === 'Stopping') {
    return failed(situation, operation, 'NotRunning', `The VM does not run; ${type} needs a running VM.`);
  }
  const startedIn = operation.status?.incarnation;
  if (startedIn !== undefined && startedIn !== alive.incarnation) {
    return failed(
      situation,
      operation,
      'NotRunning',
      `The VM was started again before ${type} was carried out.`,
    );
  }
  if (alive.state === 'Starting' || alive.state === 'Unknown')
    return inProgress(situation, operation, situation.waitingFor);
  const [before] = plan.commands;
  // One after the other, or what the one reached would be taken for the other's state.
  if (before) {
    const { metadata, spec } = before.operation;
    return inProgress(situation, operation, `Waiting for ${spec.type} operation ${metadata.name}.`);
  }
  const result = alive.results.get(operation.metadata.uid ?? '');
  if (result?.error) return failed(situation, operation, result.error.code, result.error.message);
  if (reached !== undefined && alive.state === reached)
    return succeeded(situation, operation, `The VM is ${reached.toLowerCase()}.`);
  if (!result) {
    plan.commands.push({ operation, name });
    return undefined;
  }
  if (reached === undefined) return succeeded(situation, operation, `The launcher carried out ${name}.`);
  if (reached === 'Running' && alive.state === 'IoError') {
    // Nobody holds it paused any more: its launcher lets it go on when the disk does.
    return failed(situation, operation, situation.reason, situation.waitingFor);
  }
  return inProgress(situation, operation, `Waiting for the VM to be ${reached.toLowerCase()}.`);
}

function expiry(
  now: number,
  operations: readonly VirtualMachineOperation[],
): Pick<OperationsPlan, 'expired' | 'expiresIn'> {
  const expired: VirtualMachineOperation[] = [];
  let expiresIn: number | undefined;
  for (const operation of operations) {
    if (!isFinished(operation) || operation.status?.completedAt === undefined) continue;
    const ttl = (operation.spec.ttlSecondsAfterFinished ?? DEFAULT_TTL_SECONDS) * 1000;
    const left = Date.parse(operation.status.completedAt) + ttl - now;
    if (left <= 0) expired.push(operation);
    else expiresIn = Math.min(expiresIn ?? left, left);
  }
  return { expired, expiresIn };
}

function differs(
  before: VirtualMachineOperationStatus | undefined,
  after: VirtualMachineOperationStatus,
): boolean {
  return (
    before === undefined ||
    before.phase !== after.phase ||
    before.reason !== after.reason ||
    before.message !== after.message
  );
}
