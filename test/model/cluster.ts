/**
 * A model of what surrounds the VirtualMachine controller, for property tests: what is stored, which launchers
 * really run, and the rules of the API server that safety rests on (unique names, compare-and-swap, finalizers,
 * no binding of a pod that is being deleted). It judges the plans; the real parts are tested elsewhere.
 */
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { ATTACHMENT_CONTAINER } from '../../crds/attachment.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../crds/virtual-machine.ts';
import { virtualMachineSpec } from '../../crds/virtual-machine.ts';
import type { OperationType, VirtualMachineOperation } from '../../crds/virtual-machine-operation.ts';
import type { Lease, Node, PersistentVolumeClaim, Pod } from '../../operator/kube/resources.ts';
import {
  claimUidOf,
  holderKey,
  holdersOf,
  leaseWithout,
  vmsOfLease,
} from '../../operator/ownership/claim-lease.ts';
import type { Action } from '../../operator/virtual-machine/action.ts';
import { launcherOfHolder } from '../../operator/virtual-machine/attachments.ts';
import { planVirtualMachine } from '../../operator/virtual-machine/plan.ts';
import { statusOf } from '../../operator/virtual-machine/status.ts';
import type { LauncherContact, World } from '../../operator/virtual-machine/world.ts';

const NAMESPACE = 'default';
const NODE = 'worker-1';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type ModelPod = Mutable<Pod> & { metadata: Mutable<Pod['metadata']> };

interface Stored {
  vms: Map<string, VirtualMachine>;
  pods: Map<string, ModelPod>;
  claims: Map<string, PersistentVolumeClaim>;
  leases: Map<string, Lease>;
  operations: Map<string, VirtualMachineOperation>;
}

/** A write that the API server refused: a name that is taken, a version that is not the current one. */
class Refused extends Error {}

export class ModelCluster {
  now = Date.parse('2026-01-01T00:00:00Z');
  nodeReady: 'True' | 'Unknown' = 'True';
  stored: Stored = {
    vms: new Map(),
    pods: new Map(),
    claims: new Map(),
    leases: new Map(),
    operations: new Map(),
  };
  /** UIDs of pods whose QEMU runs, whatever the API says. */
  readonly running = new Set<string>();
  /** By pod UID, what its launcher last said. */
  readonly contacts = new Map<string, LauncherContact>();
  /** Operations that were told to be done before the VM's status said so: must be none, ever. */
  readonly hasty: string[] = [];
  /** UIDs of operations whose command a launcher has carried out. */
  readonly #commanded = new Set<string>();
  /** By UID of the launcher pod: the machine that it was told of, and its guest's plugged disks with their exporters. */
  readonly machines = new Map<string, MachineDescription>();
  readonly guests = new Map<string, Map<string, string>>();
  /** Guests do not let go of disks. */
  stubborn = false;
  /** Claims that attachment pods export, by UID. */
  readonly #exported = new Map<string, string>();
  #version = 0;
  #uid = 0;
  /** VMs of which a snapshot is to be taken. */
  readonly toSnapshot = new Set<string>();
  #snapshots: Stored[] = [];

  uid(): string {
    return `uid-${++this.#uid}`;
  }

  version(): string {
    return String(++this.#version);
  }

  /** Remembers the state as a cache that lags behind would have it. */
  snapshot(): void {
    this.#snapshots.push(structuredClone(this.stored));
    if (this.#snapshots.length > 4) this.#snapshots.shift();
  }

  addVm(name: string, spec: Record<string, unknown>): void {
    if (this.stored.vms.has(name)) return;
    this.stored.vms.set(name, {
      apiVersion: 'vmstead.io/v1alpha1',
      kind: 'VirtualMachine',
      metadata: {
        name,
        namespace: NAMESPACE,
        uid: this.uid(),
        generation: 1,
        resourceVersion: this.version(),
      },
      spec: virtualMachineSpec.parse(spec),
    });
  }

  addClaim(name: string): void {
    this.stored.claims.set(name, {
      metadata: { name, namespace: NAMESPACE, uid: this.uid(), resourceVersion: this.version() },
      spec: { resources: { requests: { storage: '1Gi' } } },
      status: { phase: 'Bound' },
    });
  }

  addOperation(vm: string, type: OperationType, force: boolean): void {
    const uid = this.uid();
    this.stored.operations.set(uid, {
      apiVersion: 'vmstead.io/v1alpha1',
      kind: 'VirtualMachineOperation',
      metadata: {
        name: `op-${uid}`,
        namespace: NAMESPACE,
        uid,
        generation: 1,
        resourceVersion: this.version(),
        creationTimestamp: new Date(this.now).toISOString(),
      },
      spec:
        type === 'Stop' || type === 'Restart'
          ? { virtualMachine: vm, type, force }
          : { virtualMachine: vm, type },
    });
  }

  editSpec(name: string, change: Partial<VirtualMachineSpec>): void {
    const vm = this.stored.vms.get(name);
    if (!vm) return;
    const generation = (vm.metadata.generation ?? 1) + 1;
    this.stored.vms.set(name, {
      ...vm,
      metadata: { ...vm.metadata, generation },
      spec: { ...vm.spec, ...change },
    });
  }

  wipeStatus(name: string): void {
    const vm = this.stored.vms.get(name);
    if (vm) this.stored.vms.set(name, { ...vm, status: {} });
  }

  /** The scheduler and then the kubelet take a pod. */
  startPod(pod: ModelPod): void {
    if (
      pod.metadata.deletionTimestamp !== undefined ||
      pod.status?.containerStatuses ||
      this.nodeReady !== 'True'
    )
      return;
    pod.spec = { ...pod.spec, containers: pod.spec?.containers ?? [], nodeName: NODE };
    pod.status = {
      phase: 'Running',
      startTime: new Date(this.now).toISOString(),
      podIP: '10.0.0.1',
      containerStatuses: [container(pod, { running: { startedAt: new Date(this.now).toISOString() } })],
    };
    this.running.add(pod.metadata.uid);
    if (isAttachment(pod)) {
      const claim = pod.spec.volumes?.find(({ name }) => name === 'disk')?.persistentVolumeClaim?.claimName;
      this.#exported.set(pod.metadata.uid, claim ?? '');
      return;
    }
    this.contacts.set(pod.metadata.uid, {
      connected: true,
      lastHeardAt: this.now,
      launcherVersion: '1',
      features: ['live', 'plug'],
      results: new Map(),
      report: { state: 'Running', machineReadyAt: new Date(this.now).toISOString() },
    });
  }

  /** QEMU ends, and the kubelet, where it can, says so. */
  endPod(pod: ModelPod, result: string): void {
    this.running.delete(pod.metadata.uid);
    this.contacts.delete(pod.metadata.uid);
    if (this.nodeReady !== 'True' || pod.spec?.nodeName === undefined) return;
    const at = new Date(this.now).toISOString();
    pod.status = {
      ...pod.status,
      phase: 'Failed',
      containerStatuses: [
        container(pod, {
          terminated: {
            exitCode: 1,
            startedAt: pod.status?.startTime ?? at,
            finishedAt: at,
            message: JSON.stringify({ result, message: `${result}.`, at }),
          },
        }),
      ],
    };
    this.#collect(pod);
  }

  /** `kubectl delete pod --force`, or PodGC: the API forgets the pod as far as its finalizers let it. */
  forceDelete(pod: ModelPod): void {
    pod.metadata.deletionTimestamp ??= new Date(this.now).toISOString();
    pod.metadata.deletionGracePeriodSeconds = 0;
    pod.status = { ...pod.status, phase: 'Failed' };
    this.#collect(pod);
  }

  /** The kubelet starts what waits for it, ends what is deleted, and tells what it missed. Says how many pods that were. */
  catchUp(): number {
    let moved = 0;
    for (const pod of [...this.stored.pods.values()]) {
      const alive = this.running.has(pod.metadata.uid);
      const state = pod.status?.containerStatuses?.[0]?.state;
      const missed = state?.running !== undefined && !alive;
      if ((pod.metadata.deletionTimestamp !== undefined && !state?.terminated) || missed) {
        this.endPod(pod, 'Stopped');
        moved++;
      } else if (!alive && !pod.status?.containerStatuses) {
        this.startPod(pod);
        moved++;
      }
    }
    return moved;
  }

  #collect(pod: ModelPod): void {
    if (pod.metadata.deletionTimestamp === undefined || (pod.metadata.finalizers?.length ?? 0) > 0) return;
    this.stored.pods.delete(pod.metadata.name);
    // Kubernetes deletes what the pod owned.
    for (const each of this.stored.pods.values()) {
      if (each.metadata.ownerReferences?.[0]?.uid !== pod.metadata.uid) continue;
      each.metadata.deletionTimestamp ??= new Date(this.now + 30_000).toISOString();
      this.#collect(each);
    }
  }

  /** Whether a launcher still runs whose disk came through a pod of that name. */
  #serves(holder: string): boolean {
    const launcher = this.stored.pods.get(launcherOfHolder(holder) ?? '');
    return launcher !== undefined && launcher.status?.containerStatuses?.[0]?.state?.terminated === undefined;
  }

  world(name: string, stale: number): World {
    const seen = this.#snapshots.at(-1 - stale) ?? this.stored;
    const pods = [...seen.pods.values()].filter((pod) => pod.metadata.labels?.[LABEL.vm] === name);
    const leases = [...seen.leases.values()];
    // Always the API server's own word, as in observe().
    const podless = (which: (holder: string) => boolean) =>
      new Set(
        leases.flatMap((lease) =>
          holdersOf(lease)
            .filter((holder) => !this.stored.pods.has(holder) && which(holder))
            .map((holder) => holderKey(lease, holder)),
        ),
      );
    return structuredClone({
      now: this.now,
      listeningSince: 0,
      namespace: NAMESPACE,
      name,
      vm: seen.vms.get(name),
      pods,
      claims: seen.claims,
      images: new Map(),
      imageClaims: new Map(),
      cloning: {
        drivers: new Map<string, string>(),
        provisioners: new Map<string, string>(),
        failures: new Map(),
      },
      leases: new Map(leases.map((lease) => [claimUidOf(lease), lease])),
      ownLeases: leases.filter((lease) => vmsOfLease(lease).includes(name)),
      snapshots: this.toSnapshot.has(name) ? [openSnapshot(name)] : [],
      restores: [],
      orphanLeases: podless((holder) => !this.#serves(holder)),
      podlessHolders: podless(() => true),
      nodes: [node(this.nodeReady, this.now)],
      expandableClasses: new Set<string>(),
      silentNodes: new Map<string, string>(),
      operations: [...seen.operations.values()].filter((each) => each.spec.virtualMachine === name),
      contacts: this.contacts,
      attachments: [...seen.pods.values()].filter((pod) => pod.metadata.labels?.[LABEL.attachment] === name),
      exporters: new Map([...this.running].map((uid) => [uid, true])),
      attachmentWarnings: [],
      warnings: [],
      defaults: {
        launcherImage: 'launcher',
        launcherImagePullPolicy: 'IfNotPresent' as const,
        defaultMachineType: 'pc-q35-10.0',
        channel: undefined,
      },
    });
  }

  /**
   * One reconcile: from a state `stale` snapshots old, dying after `writes` writes.
   * Says how many writes it made.
   */
  reconcile(name: string, stale = 0, writes = Number.POSITIVE_INFINITY): number {
    const world = this.world(name, stale);
    const plan = planVirtualMachine(world);
    let made = 0;
    const step = (write: () => void): void => {
      if (made >= writes) throw new Refused('the operator died');
      made++;
      write();
    };
    try {
      for (const action of plan.actions) step(() => this.#apply(world, action));
      if (plan.decision) {
        const status = statusOf(world, plan.decision, undefined);
        const uid = plan.decision.vm.metadata.uid;
        const before = this.stored.vms.get(name);
        if (before && before.metadata.uid !== uid) throw new Refused('another VM');
        if (before && JSON.stringify(before.status) !== JSON.stringify(status)) {
          step(() => this.stored.vms.set(name, { ...before, status }));
        }
      }
      for (const action of plan.afterStatus) step(() => this.#apply(world, action));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // The one that follows has heard no answers.
      if (made >= writes) for (const contact of this.contacts.values()) contact.results = new Map();
    }
    return made;
  }

  #apply(world: World, action: Action): void {
    switch (action.type) {
      case 'CreateClaim': {
        const { name = '' } = action.claim.metadata;
        if (this.stored.claims.has(name)) return;
        const metadata = { ...action.claim.metadata, name, uid: this.uid(), resourceVersion: this.version() };
        this.stored.claims.set(name, {
          ...action.claim,
          metadata,
          status: { phase: 'Bound' },
        } as PersistentVolumeClaim);
        return;
      }
      case 'SetClaimOwner':
      case 'RefuseClone':
      case 'TouchPod':
        return;
      case 'TakeLease': {
        const { name = '' } = action.lease.metadata;
        const there = this.stored.leases.get(name);
        if (there?.metadata.resourceVersion !== action.replaces?.metadata.resourceVersion)
          throw new Refused('conflict');
        const metadata = {
          ...action.lease.metadata,
          name,
          uid: there?.metadata.uid ?? this.uid(),
          resourceVersion: this.version(),
        };
        this.stored.leases.set(name, { ...action.lease, metadata } as Lease);
        return;
      }
      case 'CreatePod': {
        const { name = '', labels } = action.pod.metadata;
        if (this.stored.pods.has(name)) throw new Refused('already exists');
        // What apply() asks the API server before a later life.
        if (Number(labels?.[LABEL.incarnation]) > 1) {
          const known = new Set(world.pods.map((pod) => pod.metadata.uid));
          for (const pod of this.stored.pods.values()) {
            if (pod.metadata.labels?.[LABEL.vm] === world.name && !known.has(pod.metadata.uid))
              throw new Refused('stale');
          }
        }
        const metadata = { ...action.pod.metadata, name, uid: this.uid(), resourceVersion: this.version() };
        this.stored.pods.set(name, { ...action.pod, metadata, status: { phase: 'Pending' } } as ModelPod);
        return;
      }
      case 'CreateAttachment': {
        const { name = '' } = action.pod.metadata;
        if (this.stored.pods.has(name)) return;
        const metadata = { ...action.pod.metadata, name, uid: this.uid(), resourceVersion: this.version() };
        this.stored.pods.set(name, { ...action.pod, metadata, status: { phase: 'Pending' } } as ModelPod);
        return;
      }
      case 'DeletePod': {
        const pod = this.#same(action.pod);
        if (!pod) return;
        pod.metadata.deletionTimestamp ??= new Date(this.now + 30_000).toISOString();
        pod.metadata.deletionGracePeriodSeconds = action.graceSeconds ?? 30;
        this.#collect(pod);
        return;
      }
      case 'DropFinalizer': {
        const pod = this.#same(action.pod);
        if (!pod) return;
        if (this.running.has(pod.metadata.uid))
          throw new Error(`finalizer of ${pod.metadata.name} dropped while QEMU runs`);
        pod.metadata.finalizers = [];
        this.#collect(pod);
        return;
      }
      case 'ChangeMachine': {
        const pod = this.#same(action.pod);
        if (!pod || pod.metadata.resourceVersion !== action.pod.metadata.resourceVersion)
          throw new Refused('conflict');
        const { annotations } = pod.metadata;
        pod.metadata = {
          ...pod.metadata,
          annotations: { ...annotations, [ANNOTATION.machine]: JSON.stringify(action.machine) },
          resourceVersion: this.version(),
        };
        this.#tell(pod.metadata.uid, action.machine);
        return;
      }
      case 'TellMachine':
        this.#tell(action.podUID, action.machine);
        return;
      case 'ReleaseLease': {
        const { name, resourceVersion } = action.lease.metadata;
        if (this.stored.leases.get(name)?.metadata.resourceVersion !== resourceVersion) return;
        const left = leaseWithout(action.lease, action.holders);
        if (left === undefined) this.stored.leases.delete(name);
        else {
          const metadata = { ...left.metadata, resourceVersion: this.version() };
          this.stored.leases.set(name, { ...left, metadata });
        }
        return;
      }
      case 'Command': {
        const contact = this.contacts.get(action.podUID);
        if (!contact?.report) return;
        const { uid = '' } = action.operation.metadata;
        // At most once, as launchers do it.
        if (!this.#commanded.has(uid) && action.name !== 'reset')
          contact.report.state = action.name === 'pause' ? 'Paused' : 'Running';
        this.#commanded.add(uid);
        contact.results = new Map([...contact.results, [uid, {}]]);
        return;
      }
      case 'UpdateOperation': {
        const { metadata, spec } = action.operation;
        const reached = { Pause: 'Paused', Resume: 'Running' }[spec.type as string];
        const vm = this.stored.vms.get(spec.virtualMachine);
        // A VM that is gone, which a stale cache still has, says nothing any more.
        const said = vm && vm.metadata.uid === world.vm?.metadata.uid ? vm.status?.phase : reached;
        if (action.status.phase === 'Succeeded' && reached !== undefined && said !== reached)
          this.hasty.push(`${spec.type} succeeded while the status says ${said}`);
        this.#updateOperation(metadata.uid ?? '', action.status);
        return;
      }
      case 'DeleteOperation':
        this.stored.operations.delete(action.operation.metadata.uid ?? '');
    }
  }

  /** A launcher does what it is told at once; one that does not hear is told again. */
  #tell(podUID: string, machine: MachineDescription): void {
    const contact = this.contacts.get(podUID);
    const { report } = contact ?? {};
    if (!report || contact?.connected !== true) return;
    this.machines.set(podUID, machine);
    if (machine.revision !== undefined) report.revision = machine.revision;
    this.look(podUID);
  }

  /** A launcher looks at its disks: those that it was given, and those that its guest lets go of. */
  look(podUID: string): void {
    const report = this.contacts.get(podUID)?.report;
    const guest = this.guests.get(podUID) ?? new Map<string, string>();
    this.guests.set(podUID, guest);
    const disks = this.machines.get(podUID)?.disks ?? [];
    if (!report) return;
    report.disks = disks.map(({ name, backend, unplugged }) => {
      if (backend?.type !== 'attached') return { name };
      if (unplugged) {
        if (this.stubborn && guest.has(name)) return { name, problem: 'the guest does not let go' };
        guest.delete(name);
        return { name };
      }
      if (!this.running.has(backend.export)) return { name, problem: 'cannot be reached' };
      guest.set(name, backend.export);
      return { name, capacityBytes: 1 };
    });
  }

  /** Disks in guests whose claim somebody else has open: what he writes meets a guest that remembers other data. */
  claimsPulledAway(): string[] {
    return [...this.guests].flatMap(([launcher, disks]) => {
      if (!this.running.has(launcher)) return [];
      return [...disks].flatMap(([name, exporter]) => {
        const claim = this.#exported.get(exporter);
        const others = [...this.stored.pods.values()].filter(
          (pod) =>
            this.running.has(pod.metadata.uid) &&
            pod.metadata.ownerReferences?.[0]?.uid !== launcher &&
            pod.spec?.volumes?.some((volume) => volume.persistentVolumeClaim?.claimName === claim),
        );
        return others.map((pod) => `${name} of ${launcher}, by ${pod.metadata.name}`);
      });
    });
  }

  #same(pod: Pod): ModelPod | undefined {
    const there = this.stored.pods.get(pod.metadata.name);
    return there?.metadata.uid === pod.metadata.uid ? there : undefined;
  }

  #updateOperation(uid: string, status: NonNullable<VirtualMachineOperation['status']>): void {
    const operation = this.stored.operations.get(uid);
    if (operation) this.stored.operations.set(uid, { ...operation, status });
  }

  /**
   * Claims that more than one running QEMU has open, unless all of them share it or all of them only read it: must be
   * none, ever.
   */
  claimsWithTwoWriters(): string[] {
    const uses = new Map<string, string[]>();
    for (const pod of this.stored.pods.values()) {
      if (!this.running.has(pod.metadata.uid)) continue;
      for (const volume of pod.spec?.volumes ?? []) {
        const claim = volume.persistentVolumeClaim?.claimName;
        if (claim !== undefined) uses.set(claim, [...(uses.get(claim) ?? []), useIn(pod, volume.name)]);
      }
    }
    return [...uses]
      .filter(([, list]) => list.length > 1 && (list[0] === 'exclusive' || new Set(list).size > 1))
      .map(([claim]) => claim);
  }

  /** Claims that more than one running QEMU has open, in whatever way. */
  claimsInCommon(): number {
    const running = [...this.stored.pods.values()].filter((pod) => this.running.has(pod.metadata.uid));
    const claims = running.flatMap((pod) =>
      (pod.spec?.volumes ?? []).flatMap((volume) => volume.persistentVolumeClaim?.claimName ?? []),
    );
    return claims.length - new Set(claims).size;
  }

  /** VMs that run twice. */
  vmsRunningTwice(): string[] {
    const names = [...this.stored.pods.values()]
      .filter((pod) => this.running.has(pod.metadata.uid))
      .map((pod) => pod.metadata.labels?.[LABEL.vm] ?? pod.metadata.name);
    return names.filter((name, index) => names.indexOf(name) !== index);
  }

  /** QEMUs whose pod has no object any more: nobody would know of them. */
  forgotten(): string[] {
    const known = new Set([...this.stored.pods.values()].map((pod) => pod.metadata.uid));
    return [...this.running].filter((uid) => !known.has(uid));
  }
}

/** How the machine in a pod uses the disk of a volume. */
function useIn(pod: Pod, volume: string): 'exclusive' | 'shared' | 'read' {
  const machine = JSON.parse(
    pod.metadata.annotations?.[ANNOTATION.machine] ?? '{}',
  ) as Partial<MachineDescription>;
  const disk = machine.disks?.find(({ name }) => `disk-${name}` === volume);
  if (disk?.backend?.type === 'ephemeral') return 'read';
  return disk?.shareable ? 'shared' : 'exclusive';
}

const isAttachment = (pod: Pod): boolean => pod.metadata.labels?.[LABEL.attachment] !== undefined;

function container(pod: Pod, state: object) {
  const name = isAttachment(pod) ? ATTACHMENT_CONTAINER : 'launcher';
  return { name, image: '', imageID: '', ready: true, restartCount: 0, state };
}

function node(status: string, now: number): Node {
  return {
    metadata: { name: NODE, uid: NODE, resourceVersion: '1' },
    status: {
      allocatable: {},
      conditions: [{ type: 'Ready', status, lastTransitionTime: new Date(now).toISOString() }],
    },
  };
}

function openSnapshot(virtualMachine: string): World['snapshots'][number] {
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { name: 's', namespace: NAMESPACE, uid: `snapshot-${virtualMachine}`, resourceVersion: '1' },
    spec: { virtualMachine },
  };
}
