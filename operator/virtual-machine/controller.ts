/** The VirtualMachine controller: observe → plan → apply → status, one key a VM. */
import { LABEL } from '../../crds/api.ts';
import type { OperatorDeps } from '../deps.ts';
import { imageOfLabel } from '../image/observe.ts';
import { Controller, type Outcome } from '../kube/controller.ts';
import { pods } from '../kube/resources.ts';
import type { SharedCaches } from '../shared-caches.ts';
import type { StoredRestore, StoredSnapshot } from '../snapshot/resources.ts';
import {
  AttachmentRefusedError,
  carryOut,
  GrowthRefusedError,
  type Hands,
  RefusedError,
  writeStatus,
} from './apply.ts';
import { mayWait } from './calm.ts';
import { FleetMetrics } from './fleet-metrics.ts';
import { happenings } from './happenings.ts';
import { NodeLeases } from './node-lease.ts';
import { attachmentCache, type Caches, observe, type Sources, vmOfLabel } from './observe.ts';
import { earliest, type Plan, planVirtualMachine } from './plan.ts';
import { virtualmachineoperations } from './resources.ts';
import { sameStatus, statusOf } from './status.ts';
import type { Wait } from './waiting.ts';
import type { MachineDefaults, World } from './world.ts';

/** Machine type of VMs that name none: QEMU 10.0 of the launcher image has it, and so will its successors. */
const DEFAULT_MACHINE_TYPE = 'pc-q35-10.0';
/** Milliseconds until what the API server refused is tried again. */
const REFUSED_AGAIN = 10_000;
/** Milliseconds in which a new pod usually gets its node: its first status waits for that, and is one write less. */
const SETTLING = 300;
/** Milliseconds that news wait which nobody waits for, so that those that follow closely are one write with them. */
const CALM = 1000;

/** What launchers and movers are made with. */
export function machineDefaults({ config, channel }: OperatorDeps): MachineDefaults {
  return {
    launcherImage: config.launcherImage,
    launcherImagePullPolicy: 'IfNotPresent',
    defaultMachineType: DEFAULT_MACHINE_TYPE,
    channel: {
      addresses: [...channel.addresses],
      serverName: channel.serverName,
      caCertificate: channel.caCertificate,
    },
  };
}

export function virtualMachineController(
  deps: OperatorDeps,
  shared: SharedCaches,
  defaults: MachineDefaults,
): Controller {
  const caches = makeCaches(deps, shared);
  const sources: Sources = {
    client: deps.client,
    caches,
    launchers: deps.launchers,
    exporters: deps.exporters,
    nodeLeases: new NodeLeases(deps.client),
    defaults,
    listeningSince: startedNow(deps),
    now: () => deps.now().getTime(),
  };
  const { client, launchers, attachmentKey } = deps;
  const hands: Hands = { client, caches, launchers, attachmentKey };
  const reconciler = new Reconciler(deps, sources, hands);
  const controller = new Controller({
    name: 'virtual-machine',
    reconcile: (key) => reconciler.reconcile(key),
    log: deps.log,
    metrics: deps.metrics,
  });
  watchFor(controller, deps, caches);
  return controller;
}

function startedNow(deps: OperatorDeps): () => number {
  const at = deps.now().getTime();
  return () => at;
}

function makeCaches(deps: OperatorDeps, shared: SharedCaches): Caches {
  return {
    virtualMachines: shared.virtualMachines,
    snapshots: shared.snapshots,
    restores: shared.restores,
    operations: deps.cache(virtualmachineoperations, {
      indexes: { vm: (each) => [`${each.metadata.namespace}/${each.spec.virtualMachine}`] },
    }),
    pods: deps.launcherPods,
    attachments: deps.cache(pods, attachmentCache),
    claims: shared.claims,
    leases: shared.leases,
    nodes: shared.nodes,
    images: shared.images,
  };
}

/** What changes makes which VM be looked at again. */
function watchFor(controller: Controller, deps: OperatorDeps, caches: Caches): void {
  const keyOf = (object: { metadata: { namespace?: string; name: string } }) =>
    `${object.metadata.namespace}/${object.metadata.name}`;
  const usersOf = (claimKey: string): void => {
    for (const vm of caches.virtualMachines.by('claim', claimKey)) controller.enqueue(keyOf(vm));
  };
  caches.virtualMachines.onChange((vm) => controller.enqueue(keyOf(vm)));
  caches.operations.onChange((each) =>
    controller.enqueue(`${each.metadata.namespace}/${each.spec.virtualMachine}`),
  );
  for (const cache of [caches.snapshots, caches.restores]) {
    cache.onChange(({ metadata, spec }: StoredSnapshot | StoredRestore) =>
      controller.enqueue(`${metadata.namespace}/${spec.virtualMachine}`),
    );
  }
  caches.pods.onChange((pod) => {
    for (const key of vmOfLabel(pod)) controller.enqueue(key);
  });
  const startFrom = (image: string): void => {
    for (const vm of caches.virtualMachines.by('image', image)) controller.enqueue(keyOf(vm));
  };
  caches.images.onChange((image) => startFrom(keyOf(image)));
  caches.claims.onChange((claim) => {
    usersOf(keyOf(claim));
    for (const image of imageOfLabel(claim)) startFrom(image);
  });
  caches.leases.onChange((lease) => {
    for (const key of vmOfLabel(lease)) controller.enqueue(key);
    const claim = lease.metadata.ownerReferences?.[0]?.name;
    if (claim !== undefined) usersOf(`${lease.metadata.namespace}/${claim}`);
  });
  caches.nodes.onChange((node, previous) => {
    if (
      previous &&
      JSON.stringify([previous.status, previous.spec]) === JSON.stringify([node.status, node.spec])
    )
      return;
    for (const vm of caches.virtualMachines.list()) controller.enqueue(keyOf(vm));
  });
  caches.attachments.onChange(({ metadata }) =>
    controller.enqueue(`${metadata.namespace}/${metadata.labels?.[LABEL.attachment]}`),
  );
  deps.exporters.onChange(({ namespace, vm }) => controller.enqueue(`${namespace}/${vm}`));
  deps.launchers.onChange(({ namespace, vm }) => controller.enqueue(`${namespace}/${vm}`));
}

class Reconciler {
  readonly #deps: OperatorDeps;
  readonly #sources: Sources;
  readonly #hands: Hands;
  readonly #fleet: FleetMetrics;
  /** When this process created each VM's pod: only to save a status write, so that losing it costs nothing. */
  readonly #created = new Map<string, number>();
  /** Since when each VM has news that wait. */
  readonly #waiting = new Map<string, number>();

  constructor(deps: OperatorDeps, sources: Sources, hands: Hands) {
    this.#deps = deps;
    this.#sources = sources;
    this.#hands = hands;
    this.#fleet = new FleetMetrics(deps.registry, () => hands.caches.virtualMachines.list());
  }

  async reconcile(key: string): Promise<Outcome> {
    const slash = key.indexOf('/');
    const world = await observe(this.#sources, key.slice(0, slash), key.slice(slash + 1));
    const plan = planVirtualMachine(world);
    let refusal: Wait | undefined;
    let failure: unknown;
    try {
      for (const action of plan.actions) {
        await carryOut(this.#hands, action);
        if (action.type === 'CreatePod') this.#created.set(key, world.now);
        this.#log(world, action);
      }
    } catch (error) {
      if (error instanceof RefusedError) refusal = error.wait;
      else if (error instanceof GrowthRefusedError && plan.decision) {
        plan.decision.growth = { reason: 'GrowthRefused', message: error.message };
        plan.after = earliest([plan.after, REFUSED_AGAIN]);
      } else if (error instanceof AttachmentRefusedError && plan.decision) {
        plan.decision.attachments = new Map(plan.decision.attachments).set(error.disk, error.state);
        plan.after = earliest([plan.after, REFUSED_AGAIN]);
      } else failure = error;
    }
    const settling = this.#settling(key, world, plan, refusal);
    if (settling !== undefined) {
      if (failure) throw failure;
      return { after: settling };
    }
    // The status is written also after an error: it is then that a person looks at it.
    const urgent = refusal !== undefined || failure !== undefined || plan.afterStatus.length > 0;
    const calm = await this.#report(key, world, plan, refusal, urgent);
    if (failure) throw failure;
    for (const action of plan.afterStatus) {
      await carryOut(this.#hands, action);
      this.#log(world, action);
    }
    if (!plan.decision) this.#created.delete(key);
    const after = earliest([plan.after, calm, refusal ? REFUSED_AGAIN : undefined]);
    return after === undefined ? undefined : { after: Math.max(after, 10) };
  }

  /** Milliseconds that the first status of a new pod still waits, if it does. */
  #settling(key: string, world: World, plan: Plan, refusal: Wait | undefined): number | undefined {
    const created = this.#created.get(key);
    if (created === undefined || refusal || plan.afterStatus.length > 0) return undefined;
    const left = created + SETTLING - this.#sources.now();
    const isNew = plan.decision?.stage.running.reason === 'Scheduling';
    if (left > 0 && isNew && world.vm?.metadata.deletionTimestamp === undefined) return left;
    this.#created.delete(key);
    return undefined;
  }

  /** Writes the status where it changed; gives the milliseconds that the change may still wait. */
  async #report(
    key: string,
    world: World,
    plan: Plan,
    refusal: Wait | undefined,
    urgent: boolean,
  ): Promise<number | undefined> {
    const { decision } = plan;
    const since = this.#waiting.get(key) ?? world.now;
    this.#waiting.delete(key);
    if (!decision) return undefined;
    const before = decision.vm.status;
    const status = statusOf(world, decision, refusal);
    if (sameStatus(before, status)) return undefined;
    const left = since + CALM - this.#sources.now();
    if (!urgent && left > 0 && mayWait(before, status)) {
      this.#waiting.set(key, since);
      return left;
    }
    const { namespace, name } = world;
    const { uid = '' } = decision.vm.metadata;
    await writeStatus(this.#hands, decision.vm.metadata, status);
    this.#fleet.observe(before, status);
    for (const { type, reason, message } of happenings(before, status)) {
      const regarding = {
        apiVersion: decision.vm.apiVersion,
        kind: decision.vm.kind,
        metadata: { namespace, name, uid },
      };
      this.#deps.events.record(regarding, type, reason, message);
    }
    return undefined;
  }

  #log({ namespace, name }: World, action: Plan['actions'][number]): void {
    this.#deps.log.info(
      { controller: 'virtual-machine', namespace, vm: name, action: action.type },
      'carried out',
    );
  }
}
