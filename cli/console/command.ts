import { setTimeout as sleep } from 'node:timers/promises';
import { VmsteadError } from '../../crds/errors.ts';
import { isNotFound } from '../../operator/kube/errors.ts';
import type { StoredVirtualMachine } from '../../operator/virtual-machine/resources.ts';
import { type Cluster, connect, getVm } from '../cluster.ts';
import type { Invocation } from '../invocation.ts';
import type { Io } from '../io.ts';
import { parseDuration, vmName } from '../values.ts';
import { session } from './session.ts';

const DEFAULT_TIMEOUT = '5m';
const POLL_MS = 500;
/** Phases in which QEMU is there, or about to be. */
const WITH_MACHINE: readonly (string | undefined)[] = [
  'Starting',
  'Running',
  'Paused',
  'Stopping',
  'Unknown',
];

export async function console({ options, names: [given = ''], io }: Invocation): Promise<void> {
  const name = vmName(given);
  const deadline = Date.now() + parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  const cluster = await connect(options);
  for (;;) {
    const vm = await runningVm(cluster, name, deadline, io);
    const ending = await session(cluster, vm.status!.launcher!.podName!, () =>
      io.note(`Connected to ${name}; Ctrl-] leaves.`),
    ).catch(async (error: unknown) => {
      if (Date.now() > deadline || !(await mayCome(cluster, name, error))) throw error;
      await sleep(POLL_MS);
      return undefined;
    });
    if (ending === undefined) continue;
    switch (ending.by) {
      case 'person':
        io.note(`\nLeft the console of ${name}; the VM goes on.`);
        return;
      case 'guest':
        io.note(`\nThe console of ${name} has ended: its VM has.`);
        return;
      case 'failure':
        if (Date.now() <= deadline && (await isStarting(cluster, name))) {
          await sleep(POLL_MS);
          continue;
        }
        throw new VmsteadError(
          'ConsoleLost',
          `the console of ${name} was lost: ${ending.message}; kubectl vm describe ${name} shows the state of the VM`,
        );
    }
  }
}

/** Whether the pod that failed us is about to run, or has just made room for another. */
async function mayCome(cluster: Cluster, name: string, error: unknown): Promise<boolean> {
  if (isNotFound(error)) return true;
  return error instanceof VmsteadError && error.code === 'Unreachable' && (await isStarting(cluster, name));
}

async function isStarting(cluster: Cluster, name: string): Promise<boolean> {
  return (await getVm(cluster, name)).status?.phase === 'Starting';
}

/** The VM once it has a pod with a machine in it; says what it waits for. */
async function runningVm(
  cluster: Cluster,
  name: string,
  deadline: number,
  io: Io,
): Promise<StoredVirtualMachine> {
  let said = '';
  for (;;) {
    const vm = await getVm(cluster, name);
    const { status } = vm;
    if (WITH_MACHINE.includes(status?.phase) && status?.launcher?.podName !== undefined) return vm;
    const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
    const why = ready?.message ? `: ${ready.message}` : '';
    const state = `${name} does not run (${status?.phase ?? 'not seen by the operator yet'}${why})`;
    if (Date.now() > deadline) {
      throw new VmsteadError('Timeout', `${state}; kubectl vm start ${name} starts it if it is held off`);
    }
    if (state !== said) io.note(`${state}; waiting for it, Ctrl-C ends the wait`);
    said = state;
    await sleep(POLL_MS);
  }
}
