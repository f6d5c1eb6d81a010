/**
 * What the chart's pre-delete hook runs: ends all VMs in good order and takes the finalizers off their launcher
 * pods, which nobody could do any more after the operator is gone. Claims, VirtualMachine objects and the CRDs stay:
 * installed again, Vmstead starts the same VMs from the same disks.
 */
import type { V1Deployment } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import { LABEL, LAUNCHER_FINALIZER, MANAGED_BY } from '../crds/api.ts';
import { CHANNEL_SECRET, OPERATOR_NAME } from './config.ts';
import { createClient, type KubeClient } from './kube/client.ts';
import { connectionFromEnvironment } from './kube/environment.ts';
import { orNotFound } from './kube/errors.ts';
import type { ObjectRef, Stored } from './kube/object.ts';
import { define, endpointslices, leases, type Pod, pods, secrets } from './kube/resources.ts';
import { sleep } from './kube/sleep.ts';
import { createTransport } from './kube/transport.ts';
import { createLogger } from './log.ts';
import { holdersOf } from './ownership/claim-lease.ts';
import { endOfRun } from './ownership/proof-of-end.ts';
import { releaseLease } from './ownership/writes.ts';

const deployments = define<Stored<V1Deployment>>('apps/v1', 'Deployment', 'deployments');

/** Milliseconds between two looks. */
const LOOK_INTERVAL = 1_000;
/** Milliseconds for the operator's replicas to end. */
const OPERATOR_DEADLINE = 60_000;

export interface UninstallOptions {
  client: KubeClient;
  /** The operator's own namespace. */
  namespace: string;
  /** Namespace that was looked after; absent: all of them. */
  watchNamespace?: string | undefined;
  /** Labels of the operator's pods. */
  operatorSelector: string;
  /** Milliseconds after which finalizers go from launcher pods that have not ended. */
  deadlineMs: number;
  log: Logger;
}

const refOf = ({ metadata: { namespace, name } }: Pod): ObjectRef => ({ namespace, name });

/** Stops the operator first: it would start again what is ended here. */
async function stopOperator({ client, namespace, operatorSelector, log }: UninstallOptions): Promise<void> {
  const deployment = { namespace, name: OPERATOR_NAME };
  await orNotFound(
    client.patch(deployments, deployment, { spec: { replicas: 0 } }, { subresource: 'scale' }),
  );
  const never = new AbortController().signal;
  for (const end = Date.now() + OPERATOR_DEADLINE; ; await sleep(LOOK_INTERVAL, never)) {
    const left = await client.list(pods, { namespace, labelSelector: operatorSelector });
    if (left.length === 0) return;
    if (Date.now() > end) {
      const names = left.map((pod) => pod.metadata.name).join(', ');
      throw new Error(`the operator's pods do not end: ${names}; delete them, then run helm uninstall again`);
    }
    log.debug({ pods: left.length }, 'waiting for the operator to end');
  }
}

/** Takes our finalizer off a pod, and gives its claims back where its end is proved. */
async function letGo({ client, log }: UninstallOptions, pod: Pod, proved: boolean): Promise<void> {
  const { namespace, name, uid, finalizers = [] } = pod.metadata;
  if (proved) {
    for (const lease of await client.list(leases, {
      namespace,
      labelSelector: `${LABEL.managedBy}=${MANAGED_BY}`,
    })) {
      if (holdersOf(lease).includes(name)) await releaseLease(client, lease, [name]);
    }
  }
  if (!finalizers.includes(LAUNCHER_FINALIZER)) return;
  const rest = finalizers.filter((each) => each !== LAUNCHER_FINALIZER);
  await orNotFound(client.patch(pods, refOf(pod), { metadata: { uid, finalizers: rest } }));
  log.info({ namespace, pod: name, proved }, proved ? 'VM ended' : 'VM not seen to end; its pod was let go');
}

/** Deletes what the operator made for itself, and Helm knows nothing of. */
async function tidy({ client, namespace }: UninstallOptions, unproved: readonly string[]): Promise<void> {
  await orNotFound(client.delete(endpointslices, { namespace, name: OPERATOR_NAME }));
  await orNotFound(client.delete(leases, { namespace, name: OPERATOR_NAME }));
  // A launcher that may still run somewhere knows this certificate only.
  if (unproved.length === 0) await orNotFound(client.delete(secrets, { namespace, name: CHANNEL_SECRET }));
}

/**
 * Ends all VMs and lets their pods go.
 *
 * @returns pods that were let go though their end was not seen: on silent nodes, or slower than the deadline
 */
export async function uninstall(options: UninstallOptions): Promise<readonly string[]> {
  await stopOperator(options);
  const unproved = await endAll(options);
  await tidy(options, unproved);
  return unproved;
}

async function endAll(options: UninstallOptions): Promise<readonly string[]> {
  const { client, watchNamespace, log } = options;
  const list = async () =>
    await client.list(pods, {
      namespace: watchNamespace,
      // Launchers and movers.
      labelSelector: `${LABEL.managedBy}=${MANAGED_BY}`,
    });
  const never = new AbortController().signal;
  const end = Date.now() + options.deadlineMs;
  for (;;) {
    const left = (await list()).filter((pod) => pod.metadata.finalizers?.includes(LAUNCHER_FINALIZER));
    if (left.length === 0) return [];
    const late = Date.now() > end;
    for (const pod of left) {
      const proved = endOfRun(pod, undefined, Date.now(), pod.spec?.containers[0]?.name) !== undefined;
      if (pod.metadata.deletionTimestamp === undefined) {
        await orNotFound(client.delete(pods, refOf(pod), { uid: pod.metadata.uid }));
      }
      if (proved || late) await letGo(options, pod, proved);
    }
    if (late) return left.map(({ metadata: { namespace, name } }) => `${namespace}/${name}`);
    log.info({ vms: left.length }, 'waiting for VMs to shut down');
    await sleep(LOOK_INTERVAL, never);
  }
}

async function main(): Promise<void> {
  const log = createLogger(process.env.VMSTEAD_LOG_LEVEL || 'info');
  const transport = createTransport(await connectionFromEnvironment(), { userAgent: 'vmstead-uninstall' });
  const unproved = await uninstall({
    client: createClient(transport),
    namespace: process.env.POD_NAMESPACE ?? '',
    watchNamespace: process.env.VMSTEAD_WATCH_NAMESPACE || undefined,
    operatorSelector: process.env.VMSTEAD_OPERATOR_SELECTOR ?? '',
    deadlineMs: Number(process.env.VMSTEAD_UNINSTALL_DEADLINE || 240) * 1000,
    log,
  });
  if (unproved.length > 0) {
    log.warn(
      { pods: unproved },
      'these VMs may still run on their nodes: look there before their disks are used',
    );
  }
  transport.close();
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    process.stderr.write(`${JSON.stringify({ level: 'fatal', message: String(error) })}\n`);
    process.exitCode = 1;
  });
}
