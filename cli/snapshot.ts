/** `snapshot` and `restore`: one object made, and followed to its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { VmsteadError } from '../crds/errors.ts';
import { isUnavailable, orNotFound } from '../operator/kube/errors.ts';
import type { KubeObject } from '../operator/kube/object.ts';
import type { Resource } from '../operator/kube/resources.ts';
import {
  type StoredRestore,
  type StoredSnapshot,
  virtualmachinerestores,
  virtualmachinesnapshots,
} from '../operator/snapshot/resources.ts';
import { CLI_NAME, type Cluster, connect, getVm } from './cluster.ts';
import type { Invocation } from './invocation.ts';
import { usage } from './usage.ts';
import { parseDuration, vmName } from './values.ts';

/** A memory takes a while to write, and a snapshot to be read through. */
const DEFAULT_TIMEOUT = '10m';
const LOOK_MS = 500;

type Followed = KubeObject & {
  status?:
    | { phase?: string | undefined; conditions?: { reason: string; message: string }[] | undefined }
    | undefined;
};

export async function snapshot({ options, names, io }: Invocation): Promise<void> {
  const timeoutMs = parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  const vm = vmName(names[0] ?? '');
  const cluster = await connect(options);
  await getVm(cluster, vm);
  const made = await create<StoredSnapshot>(cluster, virtualmachinesnapshots, vm, {
    virtualMachine: vm,
    ...(options.memory ? { memory: 'Include' } : {}),
  });
  const { name } = made.metadata;
  if (options['no-wait']) {
    io.print(`virtualmachinesnapshot.vmstead.io/${name} created`);
    return;
  }
  const { status } = await follow(cluster, virtualmachinesnapshots, made, timeoutMs, ['Ready'], io.note);
  const pause =
    status?.pauseMilliseconds === undefined
      ? ''
      : `; the guest stood still for ${status.pauseMilliseconds} ms`;
  io.print(`Snapshot ${name} of ${vm} is ready (${status?.consistency})${pause}`);
}

export async function restore({ options, names, io }: Invocation): Promise<void> {
  const timeoutMs = parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  const [given = '', snapshotName] = names;
  if ((snapshotName === undefined) !== (options['last-valid'] === true)) {
    throw usage('restore takes the name of a snapshot, or --last-valid', 'restore');
  }
  const vm = vmName(given);
  const cluster = await connect(options);
  await getVm(cluster, vm);
  const made = await create<StoredRestore>(cluster, virtualmachinerestores, vm, {
    virtualMachine: vm,
    stop: true,
    ...(snapshotName === undefined ? { lastValid: true } : { snapshot: snapshotName }),
  });
  const { name } = made.metadata;
  if (options['no-wait']) {
    io.print(`virtualmachinerestore.vmstead.io/${name} created`);
    return;
  }
  const ended = await follow(cluster, virtualmachinerestores, made, timeoutMs, ['Succeeded'], io.note);
  for (const each of ended.status?.refused ?? []) io.note(`passed over ${each}`);
  io.print(ended.status?.conditions?.[0]?.message ?? `${vm} is restored`);
}

export async function create<T extends KubeObject & { spec: object }>(
  { client, namespace }: Cluster,
  resource: Resource<T>,
  vm: string,
  spec: T['spec'],
): Promise<T> {
  return await client.create(
    resource,
    { metadata: { namespace, generateName: `${vm}-` }, spec } as Parameters<typeof client.create<T>>[1],
    { strict: true, fieldManager: CLI_NAME },
  );
}

/** Looks at it until it has ended. Throws VmsteadError: Timeout, OperationFailed. */
export async function follow<T extends Followed>(
  { client, namespace }: Cluster,
  resource: Resource<T>,
  made: T,
  timeoutMs: number,
  good: readonly string[],
  note: (line: string) => void,
): Promise<T> {
  const { name, uid } = made.metadata;
  const deadline = Date.now() + timeoutMs;
  let said = '';
  for (;;) {
    const now = await look(() => orNotFound(client.get(resource, { namespace, name })), deadline);
    if (now === undefined || now.metadata.uid !== uid) {
      throw new VmsteadError('OperationFailed', `${name} was deleted before its result was seen`);
    }
    const message = now.status?.conditions?.[0]?.message ?? '';
    if (good.includes(now.status?.phase ?? '')) return now;
    if (now.status?.phase === 'Failed')
      throw new VmsteadError('OperationFailed', `${name} failed: ${message}`);
    if (message !== '' && message !== said) note(`${name}: ${message}`);
    said = message;
    if (Date.now() > deadline) {
      const why = message || 'the operator has not taken it up; is it running?';
      throw new VmsteadError(
        'Timeout',
        `${name} has not ended after ${timeoutMs / 1000} s: ${why}; it goes on: kubectl get ${resource.plural} ${name}`,
      );
    }
    await sleep(LOOK_MS);
  }
}

/** An API server that is away for a moment is asked again. */
async function look<T>(ask: () => Promise<T>, deadline: number): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isUnavailable(error) || Date.now() > deadline) throw error;
      await sleep(LOOK_MS);
    }
  }
}
