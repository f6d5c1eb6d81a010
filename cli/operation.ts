/** One VirtualMachineOperation: made, and followed to its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { VmsteadError } from '../crds/errors.ts';
import type { OperationType } from '../crds/virtual-machine-operation.ts';
import { isExpired, isUnavailable, orNotFound } from '../operator/kube/errors.ts';
import { BadLineError, SilentError, watchEvents } from '../operator/kube/watch.ts';
import { type StoredOperation, virtualmachineoperations } from '../operator/virtual-machine/resources.ts';
import { CLI_NAME, type Cluster } from './cluster.ts';

/** A watch sends bookmarks each minute or so: longer silence is a dead connection. */
const SILENT_MS = 90_000;
const RETRY_MS = 1000;

export async function createOperation(
  { client, namespace }: Cluster,
  virtualMachine: string,
  type: OperationType,
  force: boolean,
): Promise<StoredOperation> {
  return await client.create(
    virtualmachineoperations,
    {
      metadata: { namespace, generateName: `${virtualMachine}-${type.toLowerCase()}-` },
      spec: { virtualMachine, type, ...(force ? { force } : {}) },
    } as Parameters<typeof client.create<StoredOperation>>[1],
    { strict: true, fieldManager: CLI_NAME },
  );
}

function hasEnded(operation: StoredOperation): boolean {
  return operation.status?.phase === 'Succeeded' || operation.status?.phase === 'Failed';
}

/**
 * Follows an operation until it has ended.
 *
 * @param timeoutMs longest wait in milliseconds
 * @param onChange told of every state on the way
 * @throws VmsteadError `Timeout` or `OperationFailed`
 */
export async function waitForOperation(
  cluster: Cluster,
  operation: StoredOperation,
  timeoutMs: number,
  onChange: (operation: StoredOperation) => void,
): Promise<StoredOperation> {
  const signal = AbortSignal.timeout(timeoutMs);
  let last = operation;
  const see = (seen: StoredOperation): void => {
    last = seen;
    onChange(seen);
  };
  while (!signal.aborted && !hasEnded(last)) {
    try {
      await follow(cluster, operation, signal, see);
    } catch (error) {
      if (signal.aborted) break;
      const again =
        isUnavailable(error) ||
        isExpired(error) ||
        error instanceof SilentError ||
        error instanceof BadLineError;
      if (!again) throw error;
      await sleep(RETRY_MS);
    }
  }
  const { type, virtualMachine } = operation.spec;
  const { name } = operation.metadata;
  if (!hasEnded(last)) {
    const why = last.status?.message ?? 'the operator has not taken it up; is it running?';
    throw new VmsteadError(
      'Timeout',
      `${type} of ${virtualMachine} has not ended after ${timeoutMs / 1000} s: ${why}; it goes on: kubectl get vmop ${name} -o wide`,
    );
  }
  if (last.status?.phase === 'Failed') {
    const why = last.status.message ?? last.status.reason ?? 'no reason was given';
    throw new VmsteadError('OperationFailed', `${type} of ${virtualMachine} failed: ${why}`);
  }
  return last;
}

/** Reads the operation and watches it, until it has ended or the server ends the watch. */
async function follow(
  { client, namespace }: Cluster,
  operation: StoredOperation,
  signal: AbortSignal,
  see: (operation: StoredOperation) => void,
): Promise<void> {
  const { name, uid } = operation.metadata;
  const gone = () =>
    new VmsteadError(
      'OperationFailed',
      `operation ${name} was deleted before its result was seen; kubectl vm describe ${operation.spec.virtualMachine} shows the state of the VM`,
    );
  const current = await orNotFound(client.get(virtualmachineoperations, { namespace, name }, { signal }));
  if (current === undefined || current.metadata.uid !== uid) throw gone();
  see(current);
  if (hasEnded(current)) return;
  const body = await client.watch(virtualmachineoperations, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    resourceVersion: current.metadata.resourceVersion,
    timeoutSeconds: 300,
    signal,
  });
  for await (const event of watchEvents<StoredOperation>(body, SILENT_MS)) {
    if (event.type === 'BOOKMARK') continue;
    if (event.type === 'ERROR') return;
    if (event.object.metadata.uid !== uid) continue;
    if (event.type === 'DELETED' && !hasEnded(event.object)) throw gone();
    see(event.object);
    if (hasEnded(event.object)) return;
  }
}
