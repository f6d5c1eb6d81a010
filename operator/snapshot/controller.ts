/** The VirtualMachineSnapshot controller: one key a VM, as its launcher does one thing at a time. */
import { SNAPSHOT_FEATURE } from '../../crds/channel.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { VirtualMachineSnapshotStatus } from '../../crds/virtual-machine-snapshot.ts';
import { NotConnectedError } from '../channel/registry.ts';
import { OPERATOR_NAME } from '../config.ts';
import type { OperatorDeps } from '../deps.ts';
import type { Cache } from '../kube/cache.ts';
import { Controller, type Outcome } from '../kube/controller.ts';
import { orNotFound } from '../kube/errors.ts';
import { controllerUid } from '../kube/object.ts';
import type { SharedCaches } from '../shared-caches.ts';
import { sameStatus } from '../virtual-machine/status.ts';
import { type OrderState, planSnapshots, type SnapshotAction, type SnapshotWorld } from './plan.ts';
import { type StoredSnapshot, virtualmachinesnapshots } from './resources.ts';

/** Milliseconds beyond its own deadline in which a launcher answers. */
const ANSWER = 30_000;

export function snapshotController(deps: OperatorDeps, shared: SharedCaches): Controller {
  const reconciler = new Reconciler(deps, shared, (key) => controller.enqueue(key));
  const controller = new Controller({
    name: 'snapshot',
    reconcile: (key) => reconciler.reconcile(key),
    log: deps.log,
    metrics: deps.metrics,
  });
  shared.snapshots.onChange(({ metadata, spec }) =>
    controller.enqueue(`${metadata.namespace}/${spec.virtualMachine}`),
  );
  shared.virtualMachines.onChange(({ metadata }) => {
    const key = `${metadata.namespace}/${metadata.name}`;
    if (shared.snapshots.by('vm', key).length > 0) controller.enqueue(key);
  });
  deps.launchers.onChange(({ namespace, vm }) => controller.enqueue(`${namespace}/${vm}`));
  return controller;
}

class Reconciler {
  readonly #deps: OperatorDeps;
  readonly #snapshots: Cache<StoredSnapshot>;
  readonly #virtualMachines: SharedCaches['virtualMachines'];
  readonly #again: (key: string) => void;
  /** What this process asked for, by the snapshot's UID: only so that it is not asked for twice at once. */
  readonly #orders = new Map<string, OrderState>();

  constructor(deps: OperatorDeps, shared: SharedCaches, again: (key: string) => void) {
    this.#deps = deps;
    this.#snapshots = shared.snapshots;
    this.#virtualMachines = shared.virtualMachines;
    this.#again = again;
  }

  async reconcile(key: string): Promise<Outcome> {
    const world = this.#observe(key);
    const plan = planSnapshots(world);
    for (const action of plan.actions) await this.#do(key, world, action);
    for (const { snapshot, status } of plan.statuses) {
      if (!sameStatus(snapshot.status, status)) await this.#write(snapshot, status);
    }
    for (const { metadata, status } of world.snapshots) {
      if (status?.phase === 'Ready' || status?.phase === 'Failed') this.#orders.delete(metadata.uid);
    }
    return plan.after === undefined ? undefined : { after: plan.after };
  }

  #observe(key: string): SnapshotWorld {
    const slash = key.indexOf('/');
    const vm = this.#virtualMachines.get(key) as VirtualMachine | undefined;
    return {
      now: this.#deps.now().getTime(),
      namespace: key.slice(0, slash),
      name: key.slice(slash + 1),
      vm: vm?.metadata.deletionTimestamp === undefined ? vm : undefined,
      snapshots: this.#snapshots.by('vm', key),
      launcher: this.#launcherOf(key, vm),
      orders: this.#orders,
    };
  }

  #launcherOf(key: string, vm: VirtualMachine | undefined): SnapshotWorld['launcher'] {
    for (const { metadata } of this.#deps.launcherPods.by('vm', key)) {
      const { uid, deletionTimestamp } = metadata;
      const connection = this.#deps.launchers.get(uid);
      const own = controllerUid({ metadata }) === vm?.metadata.uid;
      if (connection?.report === undefined || !own || deletionTimestamp !== undefined) continue;
      const { report, hello } = connection;
      const canSnapshot = hello.features?.includes(SNAPSHOT_FEATURE) === true;
      return { podUID: uid, incarnation: hello.incarnation, report, canSnapshot };
    }
    return undefined;
  }

  async #do(key: string, world: SnapshotWorld, action: SnapshotAction): Promise<void> {
    const { client, launchers, log } = this.#deps;
    const { namespace, name: vm } = world;
    if (action.type === 'Take') {
      const { uid, name, deadlineSeconds } = action.order;
      log.info({ controller: 'snapshot', namespace, vm, snapshot: name }, 'ordered');
      this.#orders.set(uid, 'Given');
      // Not waited for: it takes as long as writing the memory does. The launcher does it once, however often asked.
      void launchers
        .snapshot(action.podUID, `take-${uid}`, { take: action.order }, deadlineSeconds * 1000 + ANSWER)
        .then(
          ({ error }) => error && this.#orders.set(uid, error),
          (error: unknown) => this.#orders.set(uid, { code: 'NotConnected', message: String(error) }),
        )
        .finally(() => this.#again(key));
      return;
    }
    // The cache may not have it yet: a snapshot is given up on the API server's own word only.
    const there = await client.list(virtualmachinesnapshots, { namespace });
    if (there.some(({ metadata }) => metadata.uid === action.uid)) return;
    log.info({ controller: 'snapshot', namespace, vm, uid: action.uid }, 'forgotten');
    await launchers
      .snapshot(action.podUID, `forget-${action.uid}`, { forget: action.uid }, ANSWER)
      .catch((error: unknown) => {
        if (!(error instanceof NotConnectedError)) throw error;
      });
  }

  async #write(snapshot: StoredSnapshot, status: VirtualMachineSnapshotStatus): Promise<void> {
    const { client, events } = this.#deps;
    const { namespace = '', name, uid, resourceVersion } = snapshot.metadata;
    const stored = await orNotFound(
      client.apply(
        virtualmachinesnapshots,
        { metadata: { namespace, name, resourceVersion }, status },
        { fieldManager: OPERATOR_NAME, subresource: 'status' },
      ),
    );
    if (stored) this.#snapshots.remember(stored);
    if (status.phase === snapshot.status?.phase) return;
    const [condition] = status.conditions ?? [];
    if (!condition || (status.phase !== 'Ready' && status.phase !== 'Failed')) return;
    const regarding = {
      apiVersion: 'vmstead.io/v1alpha1',
      kind: 'VirtualMachineSnapshot',
      metadata: { namespace, name, uid },
    };
    const type = status.phase === 'Ready' ? 'Normal' : 'Warning';
    events.record(regarding, type, condition.reason, condition.message);
  }
}
