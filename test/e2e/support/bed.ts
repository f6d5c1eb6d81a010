/** One namespace of the test cluster with what a test needs to make VMs in it and to watch them. */
import { LABEL } from '../../../crds/api.ts';
import type { VirtualMachine, VirtualMachineStatus } from '../../../crds/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../../crds/virtual-machine-operation.ts';
import type { KubeClient } from '../../../operator/kube/client.ts';
import { isNotFound, orNotFound } from '../../../operator/kube/errors.ts';
import { leases, type Pod, persistentvolumeclaims, pods } from '../../../operator/kube/resources.ts';
import {
  type StoredOperation,
  type StoredVirtualMachine,
  virtualmachineoperations,
  virtualmachines,
} from '../../../operator/virtual-machine/resources.ts';
import { type Cluster, testClusterProvider } from '../../cluster/index.ts';
import { kubectl } from '../../cluster/kubectl.ts';
import { type Api, openApi } from './api.ts';
import { judgeClaim } from './disk.ts';
import { LogFollower } from './log-follower.ts';
import { type PollOptions, poll } from './poll.ts';
import { typeInto } from './type-into.ts';
import { worldOf } from './world.ts';
import { WriterWatch } from './writers.ts';

type Condition = NonNullable<VirtualMachineStatus['conditions']>[number];

export function condition(object: StoredVirtualMachine | undefined, type: string): Condition | undefined {
  return object?.status?.conditions?.find((each) => each.type === type);
}

/** "True Running", the short form that tests compare. */
export function brief(object: StoredVirtualMachine | undefined, type = 'Ready'): string {
  const found = condition(object, type);
  return found ? `${found.status} ${found.reason}` : 'absent';
}

/** In full: "vm" may be somebody else's too. */
const OURS = 'virtualmachines.vmstead.io,virtualmachineoperations.vmstead.io';

export class Bed {
  readonly cluster: Cluster;
  readonly api: Api;
  readonly namespace: string;
  readonly logs: LogFollower;
  readonly writers: WriterWatch;

  private constructor(cluster: Cluster, api: Api, namespace: string) {
    this.cluster = cluster;
    this.api = api;
    this.namespace = namespace;
    this.logs = new LogFollower(api, namespace);
    this.writers = new WriterWatch(cluster);
  }

  get client(): KubeClient {
    return this.api.client;
  }

  /** A namespace of its own, empty, that enforces Pod Security `restricted` unless told otherwise. */
  static async open(name: string, podSecurity = 'restricted'): Promise<Bed> {
    const cluster = await testClusterProvider().ensure();
    const api = await openApi(cluster.kubeconfigPath);
    const namespace = `e2e-${name}`;
    // What an aborted run left: VMs before their namespace, as a person would.
    await kubectl(cluster.kubeconfigPath, ['delete', OURS, '--all', '-n', namespace, '--wait=false']);
    await kubectl(cluster.kubeconfigPath, [
      ...['delete', 'namespace', namespace, '--ignore-not-found', '--timeout=90s'],
    ]);
    const labels = { 'pod-security.kubernetes.io/enforce': podSecurity };
    await kubectl(
      cluster.kubeconfigPath,
      ['create', '--filename', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } }),
    );
    return new Bed(cluster, api, namespace);
  }

  /** Deletes the VMs, and fails when that leaves anything of ours behind or two QEMUs were seen on one disk. */
  async close(): Promise<void> {
    try {
      await this.kubectl('delete', OURS, '--all', '--wait=false');
      await poll(
        'the namespace to hold nothing of Vmstead any more',
        async () => !(await this.leftovers())[0],
        { describe: async () => `left behind: ${(await this.leftovers()).join(', ')}` },
      );
      this.writers.check();
    } finally {
      await this.writers[Symbol.asyncDispose]();
      await this.logs[Symbol.asyncDispose]();
      await kubectl(this.cluster.kubeconfigPath, [
        ...['delete', 'namespace', this.namespace, '--wait=false', '--ignore-not-found'],
      ]);
      this.api[Symbol.dispose]();
    }
  }

  /** Everything that should have gone with the VMs; claims whose reclaimPolicy is Retain stay. */
  async leftovers(): Promise<string[]> {
    const { client, namespace } = this;
    const ours = { namespace, labelSelector: LABEL.vm };
    const claims = await client.list(persistentvolumeclaims, ours);
    return [
      ...(await client.list(virtualmachines, { namespace })).map((each) => `vm/${each.metadata.name}`),
      ...(await client.list(virtualmachineoperations, { namespace })).map(
        (each) => `vmop/${each.metadata.name}`,
      ),
      ...(await client.list(pods, ours)).map((each) => `pod/${each.metadata.name}`),
      ...(await this.attachments()).map((each) => `pod/${each.metadata.name}`),
      ...(await client.list(leases, { namespace })).map((each) => `lease/${each.metadata.name}`),
      ...claims
        .filter((each) => each.metadata.ownerReferences?.length)
        .map((each) => `pvc/${each.metadata.name}`),
    ];
  }

  kubectl(...args: string[]): Promise<string> {
    return kubectl(this.cluster.kubeconfigPath, ['--namespace', this.namespace, ...args]);
  }

  /** `kubectl apply` of manifests, as a person or a GitOps tool does it. */
  async apply(...items: object[]): Promise<void> {
    await kubectl(
      this.cluster.kubeconfigPath,
      ['--namespace', this.namespace, 'apply', '--server-side', '--filename', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
    );
  }

  /** What `kubectl diff` has to say about a manifest: nothing, if nobody but its owner touched the object. */
  async diff(manifest: object): Promise<string> {
    return kubectl(
      this.cluster.kubeconfigPath,
      ['--namespace', this.namespace, 'diff', '--server-side', '--filename', '-'],
      JSON.stringify(manifest),
    ).catch((error) => `${error}`);
  }

  vm(name: string): Promise<StoredVirtualMachine> {
    return this.client.get(virtualmachines, { namespace: this.namespace, name });
  }

  /** Waits until the VM is as it should be; a failure shows its status, pods, events and logs. */
  async until(
    name: string,
    what: string,
    holds: (vm: StoredVirtualMachine) => boolean | undefined,
    options: PollOptions = {},
  ): Promise<StoredVirtualMachine> {
    return poll(
      `VM ${name}: ${what}`,
      async () => {
        const vm = await this.vm(name);
        return holds(vm) ? vm : undefined;
      },
      { describe: () => worldOf(this, name), ...options },
    );
  }

  /** Waits for a condition in its short form, such as `Ready` to be `True Running`. */
  untilCondition(name: string, type: string, wanted: string, options?: PollOptions) {
    return this.until(name, `${type} ${wanted}`, (vm) => brief(vm, type) === wanted, options);
  }

  /** Waits until the guest itself said that it is up, by the signal and, where tests read it, in its log. */
  async untilUp(name: string, options?: PollOptions): Promise<StoredVirtualMachine> {
    const vm = await this.untilCondition(name, 'GuestReady', 'True Signal', options);
    const pod = vm.status?.launcher?.podUID ?? '';
    await poll(`guest ${name}: its log`, () => this.logs.ofPod(pod).includes('VMSTEAD-'), {
      describe: () => worldOf(this, name),
    });
    return vm;
  }

  async untilGone(name: string): Promise<void> {
    await poll(
      `VM ${name} and its pods to be gone`,
      async () => {
        const vm = await orNotFound(this.vm(name));
        return vm === undefined && (await this.podsOf(name)).length === 0;
      },
      { describe: () => worldOf(this, name) },
    );
  }

  podsOf(name: string): Promise<readonly Pod[]> {
    return this.client.list(pods, { namespace: this.namespace, labelSelector: `${LABEL.vm}=${name}` });
  }

  /** Pods through which disks were plugged into running VMs. */
  attachments(): Promise<readonly Pod[]> {
    return this.client.list(pods, { namespace: this.namespace, labelSelector: LABEL.attachment });
  }

  /** The pod that the status names. */
  async pod(name: string): Promise<Pod> {
    const vm = await this.vm(name);
    return this.client.get(pods, { namespace: this.namespace, name: vm.status?.launcher?.podName ?? '' });
  }

  /** Runs a command in the VM's launcher container. */
  async inLauncher(name: string, ...command: string[]): Promise<string> {
    return this.kubectl('exec', (await this.pod(name)).metadata.name, '--', ...command);
  }

  /** Types a line at the guest's serial console, as `kubectl vm console` does. */
  async typeInto(name: string, line: string): Promise<void> {
    await typeInto(this.cluster.kubeconfigPath, this.namespace, (await this.pod(name)).metadata.name, line);
  }

  /** What the VM's guests said, in all its lives. */
  log(name: string): string {
    return this.logs.of(name);
  }

  async untilLog(name: string, what: string, holds: (log: string) => boolean, options?: PollOptions) {
    await poll(`guest ${name}: ${what}`, () => holds(this.log(name)), {
      describe: () => worldOf(this, name),
      ...options,
    });
  }

  async delete(name: string): Promise<void> {
    await this.client
      .delete(virtualmachines, { namespace: this.namespace, name })
      .catch((error) => (isNotFound(error) ? undefined : Promise.reject(error)));
  }

  /** Changes the spec as `kubectl patch` does. */
  async patch(name: string, spec: Partial<VirtualMachine['spec']>): Promise<void> {
    await this.client.patch(virtualmachines, { namespace: this.namespace, name }, { spec });
  }

  operationOf(name: string): Promise<StoredOperation> {
    return this.client.get(virtualmachineoperations, { namespace: this.namespace, name });
  }

  /** Makes an operation and waits for its end. */
  async operate(manifest: VirtualMachineOperation, options: PollOptions = {}): Promise<StoredOperation> {
    const { name } = manifest.metadata;
    await this.apply(manifest);
    return poll(
      `operation ${name} to end`,
      async () => {
        const stored = await this.operationOf(name);
        return stored.status?.completedAt === undefined ? undefined : stored;
      },
      {
        describe: async () =>
          `${JSON.stringify((await this.operationOf(name)).status)}\n${await worldOf(this, manifest.spec.virtualMachine)}`,
        ...options,
      },
    );
  }

  /** Judges the disk that a claim holds by all that the VM's guests said they wrote. The VM must be off. */
  async judge(name: string, claim: string): Promise<string[]> {
    return judgeClaim(this.cluster, this.client, this.namespace, claim, this.log(name));
  }
}
