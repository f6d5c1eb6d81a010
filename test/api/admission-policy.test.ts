/** The policy that bounds the operator: asked of the real API server, as the operator's account. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { virtualMachineImage } from '../../crds/virtual-machine-image.ts';
import { moverPod } from '../../operator/image/pod.ts';
import type { ImageWorld } from '../../operator/image/world.ts';
import { createClient, type KubeClient } from '../../operator/kube/client.ts';
import { ApiError } from '../../operator/kube/errors.ts';
import { fromKubeconfig } from '../../operator/kube/kubeconfig.ts';
import { pods } from '../../operator/kube/resources.ts';
import { createTransport, type Transport } from '../../operator/kube/transport.ts';
import { attachmentPod } from '../../operator/virtual-machine/attachment-pod.ts';
import { describeMachine } from '../../operator/virtual-machine/machine.ts';
import { launcherPod } from '../../operator/virtual-machine/pod.ts';
import { resolve } from '../../operator/virtual-machine/resolve.ts';
import { aPod, aVm } from '../../operator/virtual-machine/testing.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { chartObjects } from './support/chart.ts';
import { waitFor } from './support/wait-for.ts';

// biome-ignore lint/suspicious/noExplicitAny: the changes below reach into every corner of a pod
type AnyPod = any;

let server: ApiServer;
let operator: KubeClient;
let uninstall: KubeClient;
let stranger: KubeClient;
const transports: Transport[] = [];

async function clientOf(user: string): Promise<KubeClient> {
  const groups = user.startsWith('system:serviceaccount:') ? ['system:serviceaccounts'] : [];
  const connection = await fromKubeconfig(await server.kubeconfigFor(user, groups));
  const transport = createTransport(connection, { userAgent: 'vmstead-test/1' });
  transports.push(transport);
  return createClient(transport);
}

const VOLUME_CLAIMS = new Map([
  ['root', { volumeMode: 'Filesystem' as const, bytes: 2 ** 30 }],
  ['raw', { volumeMode: 'Block' as const, bytes: 2 ** 30 }],
]);

/** The pod that the operator makes of a VM with every kind of volume. */
function launcher(accelerator: 'kvm' | 'tcg' = 'kvm'): AnyPod {
  const vm = aVm({
    firmware: { type: 'UEFI' },
    state: { size: '64Mi' },
    disks: [
      { name: 'root', source: { blank: {} }, claim: { size: '1Gi' } },
      { name: 'raw', source: { claim: { name: 'data' } } },
      { name: 'tools', source: { containerImage: { image: 'tools:1', overlaySize: '100Mi' } } },
      { name: 'config', source: { configMap: { name: 'app' } } },
      { name: 'keys', source: { secret: { secretName: 'app-keys' } } },
      {
        name: 'pod',
        source: { downwardAPI: { fields: [{ path: 'a', fieldRef: { fieldPath: 'metadata.labels' } }] } },
      },
    ],
    cloudInit: { userDataSecretRef: { name: 'web-user-data' } },
    resources: { limits: { cpu: '2', memory: '1Gi' } },
  });
  const name = { namespace: 'default', name: 'web' };
  const resolved = resolve(name, vm.spec, { machineType: undefined }, accelerator, 'pc-q35-10.0');
  const description = describeMachine({
    ...name,
    uid: 'vm-uid',
    incarnation: 1,
    spec: vm.spec,
    resolved,
    claims: VOLUME_CLAIMS,
    channel: undefined,
  });
  return structuredClone(
    launcherPod({
      vm,
      namespace: 'default',
      description,
      resolved,
      claims: VOLUME_CLAIMS,
      image: 'vmstead/launcher:test',
      imagePullPolicy: 'IfNotPresent',
    }),
  );
}

/** The pod that the operator makes of an image with a Secret, a ConfigMap and a claim of its own. */
function mover(
  source: object = { http: { url: 'https://a/b', secretRef: { name: 's' }, caConfigMapRef: { name: 'c' } } },
): AnyPod {
  const image = virtualMachineImage.parse({
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachineImage',
    metadata: { name: 'debian', namespace: 'default', uid: 'image-uid', generation: 1 },
    spec: { source, claim: { size: '1Gi' } },
  });
  const claim = (name: string, volumeMode: string) => ({
    metadata: { name, namespace: 'default', uid: `${name}-uid`, resourceVersion: '1' },
    spec: { volumeMode },
  });
  const world: ImageWorld = {
    now: 0,
    namespace: 'default',
    name: 'debian',
    image,
    pods: [],
    claim: undefined,
    snapshot: undefined,
    sourceClaim: claim('data', 'Block'),
    leases: new Map(),
    ownLeases: [],
    orphanLeases: new Set(),
    nodes: [],
    progress: new Map(),
    warnings: [],
    defaults: {
      launcherImage: 'vmstead/launcher:test',
      launcherImagePullPolicy: 'IfNotPresent',
      channel: undefined,
    },
  };
  return structuredClone(moverPod(world, image, claim('image-debian', 'Filesystem'), 1));
}

/** The pod that the operator makes for a disk that comes while the VM runs. */
function attachment(volumeMode = 'Filesystem'): AnyPod {
  const claim = { metadata: { name: 'web-data', namespace: 'default', uid: 'c', resourceVersion: '1' } };
  return structuredClone(
    attachmentPod({
      vm: aVm(),
      launcher: aPod(1, { spec: { containers: [], nodeName: 'worker-1' } }),
      incarnation: 1,
      attempt: 1,
      disk: {
        ...{ name: 'data', device: 'disk', bus: 'virtio', serial: 'data', readOnly: false },
        backend: { type: 'file', path: '/disks/data/disk.img', format: 'raw' },
      },
      claim: { ...claim, spec: { volumeMode } },
      base: undefined,
      graceSeconds: 30,
      defaults: {
        launcherImage: 'vmstead/launcher:test',
        launcherImagePullPolicy: 'IfNotPresent',
        defaultMachineType: 'pc-q35-10.0',
        channel: undefined,
      },
    }),
  );
}

/** What the API server says to a write that stores nothing: `accepted`, or its refusal. */
async function answer(write: Promise<unknown>): Promise<string> {
  try {
    await write;
    return 'accepted';
  } catch (error) {
    if (error instanceof ApiError) return error.statusMessage;
    throw error;
  }
}

const create = async (client: KubeClient, pod: AnyPod) =>
  await answer(client.create(pods, pod, { dryRun: true, strict: true }));

beforeAll(async () => {
  server = await startApiServer();
  const admin = (args: string[], input?: string) => kubectl(server.kubeconfigPath, args, input);
  await admin(['wait', '--for=jsonpath={.status.phase}=Active', 'namespace/default', '--timeout=30s']);
  const objects = await chartObjects();
  const wanted = objects.filter(
    ({ kind, metadata: { name, namespace } }) =>
      kind.startsWith('ValidatingAdmissionPolicy') ||
      (kind.startsWith('ClusterRole') &&
        ['vmstead-operator', 'vmstead-uninstall'].includes(name) &&
        !namespace),
  );
  await admin(['apply', '-f', '-'], wanted.map((object) => stringify(object)).join('---\n'));
  // Somebody with every right, whom the policy does not concern.
  await admin(['create', 'clusterrolebinding', 'stranger', '--clusterrole=cluster-admin', '--user=stranger']);
  operator = await clientOf('system:serviceaccount:vmstead-system:vmstead-operator');
  uninstall = await clientOf('system:serviceaccount:vmstead-system:vmstead-uninstall');
  stranger = await clientOf('stranger');
  // A policy is in force a moment after it was stored.
  const naked = { metadata: launcher().metadata, spec: { containers: [{ name: 'x', image: 'x' }] } };
  const denies = async () => (await create(operator, naked)).includes('denied request');
  await waitFor('the policy is in force', denies, 30_000);
});
afterAll(async () => {
  for (const transport of transports) transport.close();
  await server?.stop();
});

describe('the operator may create', () => {
  it.each(['kvm', 'tcg'] as const)(
    'the launcher pod of a VM with every kind of volume (%s)',
    async (accelerator) => {
      expect(await create(operator, launcher(accelerator))).toBe('accepted');
    },
  );
});

describe('the operator may create as well', () => {
  it.each([
    ['http', undefined],
    ['a container image', { containerImage: { image: 'disk:1' } }],
    ['a block claim', { claim: { name: 'data' } }],
    ['upload', { upload: {} }],
  ])('the mover pod of an image from %s', async (_name, source) => {
    expect(await create(operator, mover(source))).toBe('accepted');
  });
});

const SECRET_ENV = { name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } };
const container = (pod: AnyPod) => pod.spec.containers[0];
const addVolume = (source: object) => (pod: AnyPod) => pod.spec.volumes.push({ name: 'more', ...source });
const setPod = (fields: object) => (pod: AnyPod) => Object.assign(pod.spec, fields);
const setContainer = (fields: object) => (pod: AnyPod) => Object.assign(container(pod), fields);
const secure = (fields: object) => (pod: AnyPod) => Object.assign(pod.spec.securityContext, fields);
const secureContainer = (fields: object) => (pod: AnyPod) =>
  Object.assign(container(pod).securityContext, fields);
const project = (source: object) => (pod: AnyPod) =>
  pod.spec.volumes.find((volume: AnyPod) => volume.projected).projected.sources.push(source);

const REFUSED: [name: string, change: (pod: AnyPod) => void, message: RegExp][] = [
  ['no VM label', (pod) => delete pod.metadata.labels['vmstead.io/vm'], /has the labels/],
  ['no incarnation', (pod) => delete pod.metadata.labels['vmstead.io/incarnation'], /has the labels/],
  ['another manager', (pod) => (pod.metadata.labels['app.kubernetes.io/managed-by'] = 'x'), /has the labels/],
  ['no owner', (pod) => delete pod.metadata.ownerReferences, /is controlled by the VirtualMachine/],
  ['another owner', (pod) => (pod.metadata.ownerReferences[0].kind = 'ConfigMap'), /is controlled by/],
  ["another VM's label", (pod) => (pod.metadata.labels['vmstead.io/vm'] = 'db'), /is controlled by/],
  [
    'an owner that does not control',
    (pod) => (pod.metadata.ownerReferences[0].controller = false),
    /controlled/,
  ],
  ['no finalizer', (pod) => delete pod.metadata.finalizers, /has the finalizer/],
  ['a foreign finalizer', (pod) => pod.metadata.finalizers.push('a.b/c'), /has the finalizer/],
  [
    'hostNetwork',
    (pod) => {
      pod.spec.hostNetwork = true;
      // Kubernetes itself refuses this one together with hostNetwork.
      delete pod.spec.securityContext.sysctls;
    },
    /shares no namespace/,
  ],
  ['hostPID', setPod({ hostPID: true }), /shares no namespace/],
  ['hostIPC', setPod({ hostIPC: true }), /shares no namespace/],
  ['shareProcessNamespace', setPod({ shareProcessNamespace: true }), /shares no namespace/],
  ['a node of its own choice', setPod({ nodeName: 'worker-1' }), /placed by the scheduler/],
  ["the system's priority", setPod({ priorityClassName: 'system-node-critical' }), /placed by the scheduler/],
  ['a token for the API server', setPod({ automountServiceAccountToken: true }), /default account/],
  ['another account', setPod({ serviceAccountName: 'admin' }), /default account/],
  ['root', secure({ runAsUser: 0, runAsNonRoot: false }), /user and group 107/],
  ['another user', secure({ runAsUser: 1000 }), /user and group 107/],
  ['another group', secure({ runAsGroup: 0 }), /user and group 107/],
  ['more groups', secure({ supplementalGroups: [6] }), /user and group 107/],
  ['no seccomp', secure({ seccompProfile: { type: 'Unconfined' } }), /user and group 107/],
  ['an SELinux type', secure({ seLinuxOptions: { type: 'spc_t' } }), /user and group 107/],
  ['another sysctl', secure({ sysctls: [{ name: 'kernel.shm_rmid_forced', value: '0' }] }), /user and group/],
  ['two containers', (pod) => pod.spec.containers.push({ name: 'x', image: 'x' }), /one container/],
  ['an init container', setPod({ initContainers: [{ name: 'x', image: 'x' }] }), /one container/],
  ['a restart policy', setPod({ restartPolicy: 'Always' }), /one container/],
  ['another image', setContainer({ image: 'evil:1' }), /launcher image/],
  ['another command', setContainer({ command: ['/bin/sh', '-c', 'true'] }), /launcher image/],
  ['arguments', setContainer({ args: ['x'] }), /launcher image/],
  [
    'a lifecycle hook',
    setContainer({ lifecycle: { preStop: { exec: { command: ['true'] } } } }),
    /launcher image/,
  ],
  ['an environment from a Secret', setContainer({ env: [SECRET_ENV] }), /no environment variables/],
  [
    'a whole Secret as environment',
    setContainer({ envFrom: [{ secretRef: { name: 's' } }] }),
    /no environment/,
  ],
  ['privileged', secureContainer({ privileged: true, allowPrivilegeEscalation: true }), /no capabilities/],
  ['escalation', secureContainer({ allowPrivilegeEscalation: true }), /no capabilities/],
  [
    'a capability',
    secureContainer({ capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] } }),
    /no capabilities/,
  ],
  ['capabilities kept', secureContainer({ capabilities: {} }), /no capabilities/],
  ['a writable root', secureContainer({ readOnlyRootFilesystem: false }), /no capabilities/],
  ['root in the container', secureContainer({ runAsUser: 0, runAsNonRoot: false }), /no capabilities/],
  [
    'no seccomp in the container',
    secureContainer({ seccompProfile: { type: 'Unconfined' } }),
    /no capabilities/,
  ],
  [
    'a port of the node',
    setContainer({ ports: [{ containerPort: 80, hostPort: 80 }] }),
    /no port of its node/,
  ],
  ['hostPath', addVolume({ hostPath: { path: '/' } }), /volumes of a launcher pod/],
  ['a ConfigMap', addVolume({ configMap: { name: 'c' } }), /volumes of a launcher pod/],
  ['any Secret', addVolume({ secret: { secretName: 's' } }), /volumes of a launcher pod/],
  ['NFS', addVolume({ nfs: { server: 'a', path: '/' } }), /volumes of a launcher pod/],
  ['a CSI volume', addVolume({ csi: { driver: 'a.b' } }), /volumes of a launcher pod/],
  ['a projected Secret', project({ secret: { name: 's' } }), /projected volume/],
  ['a projected ConfigMap', project({ configMap: { name: 'c' } }), /projected volume/],
  ['a projected API token', project({ serviceAccountToken: { path: 'api' } }), /projected volume/],
  [
    "a projected token for somebody else's audience",
    project({ serviceAccountToken: { path: 'x', audience: 'vault' } }),
    /projected volume/,
  ],
  [
    'another device',
    (pod) => (container(pod).resources = { limits: { 'nvidia.com/gpu': '1' } }),
    /no other device/,
  ],
];

describe('the operator may not create a launcher pod with', () => {
  it.each(REFUSED)('%s', async (_name, change, message) => {
    const pod = launcher();
    change(pod);
    const refusal = await create(operator, pod);
    expect(refusal).toContain("'vmstead-launcher-pods' with binding 'vmstead-launcher-pods' denied request");
    expect(refusal).toMatch(message);
    // The refusal is the policy's, not the pod's: it is one that a pod may be.
    expect(await create(stranger, pod)).toBe('accepted');
  });
});

describe('the operator may not create a mover pod with', () => {
  it.each([
    ['no attempt', (pod) => delete pod.metadata.labels['vmstead.io/attempt'], /has the labels/],
    ["a VM's label too", (pod) => (pod.metadata.labels['vmstead.io/vm'] = 'web'), /has the labels/],
    [
      'a VM as its owner',
      (pod) => (pod.metadata.ownerReferences[0].kind = 'VirtualMachine'),
      /controlled by/,
    ],
    ["another image's label", (pod) => (pod.metadata.labels['vmstead.io/image'] = 'x'), /controlled by/],
    [
      "a launcher's command",
      setContainer({ command: ['/usr/bin/tini', '--', '/usr/lib/vmstead/supervise'] }),
      /own command/,
    ],
    ["a launcher's container", setContainer({ name: 'launcher' }), /the one container/],
    ['hostPath', addVolume({ hostPath: { path: '/' } }), /volumes of a launcher pod/],
    ['any Secret', addVolume({ secret: { secretName: 's' } }), /volumes of a launcher pod/],
    ['any ConfigMap', addVolume({ configMap: { name: 'c' } }), /volumes of a launcher pod/],
    ['KVM', (pod) => (container(pod).resources = { limits: { 'vmstead.io/kvm': '1' } }), /no other device/],
    ['root', secure({ runAsUser: 0, runAsNonRoot: false }), /user and group 107/],
    ['a token for the API server', setPod({ automountServiceAccountToken: true }), /default account/],
  ] as [string, (pod: AnyPod) => void, RegExp][])('%s', async (_name, change, message) => {
    const pod = mover();
    change(pod);
    expect(await create(operator, pod)).toMatch(message);
    expect(await create(stranger, pod)).toBe('accepted');
  });
});

describe('the operator may create an attachment pod', () => {
  it.each(['Filesystem', 'Block'])('of a claim of mode %s', async (mode) => {
    expect(await create(operator, attachment(mode))).toBe('accepted');
  });

  it.each([
    ['no attempt', (pod) => delete pod.metadata.labels['vmstead.io/attempt'], /has the labels/],
    ["a VM's label too", (pod) => (pod.metadata.labels['vmstead.io/vm'] = 'web'), /has the labels/],
    [
      'the VM as its owner',
      (pod) => (pod.metadata.ownerReferences[0].kind = 'VirtualMachine'),
      /controlled by/,
    ],
    ["another VM's launcher", (pod) => (pod.metadata.ownerReferences[0].name = 'vm-db-1'), /controlled by/],
    [
      "another life's launcher",
      (pod) => (pod.metadata.labels['vmstead.io/incarnation'] = '2'),
      /controlled by/,
    ],
    ['the name of a launcher', (pod) => (pod.metadata.name = 'vm-web-2'), /controlled by/],
    [
      "a launcher's command",
      setContainer({ command: ['/usr/bin/tini', '--', '/usr/lib/vmstead/supervise'] }),
      /own command/,
    ],
    ['a node of its choice', setPod({ nodeName: 'worker-1' }), /placed by the scheduler/],
    ['a Secret', addVolume({ secret: { secretName: 's' } }), /volumes of a launcher pod/],
    ['an image', addVolume({ image: { reference: 'a:1' } }), /volumes of a launcher pod/],
    ['hostPath', addVolume({ hostPath: { path: '/' } }), /volumes of a launcher pod/],
    ['root', secure({ runAsUser: 0, runAsNonRoot: false }), /user and group 107/],
  ] as [string, (pod: AnyPod) => void, RegExp][])('but not with %s', async (_name, change, message) => {
    const pod = attachment();
    change(pod);
    expect(await create(operator, pod)).toMatch(message);
  });
});

describe('Vmstead may change about a pod', () => {
  let image: AnyPod;
  beforeAll(async () => {
    const stored: AnyPod = await stranger.create(pods, launcher());
    image = { spec: { containers: [{ ...stored.spec.containers[0], image: 'evil:1' }] } };
  });
  const patch = async (account: string, change: object) => {
    const client = account === 'operator' ? operator : uninstall;
    const ref = { namespace: 'default', name: 'vm-web-1' };
    return await answer(client.patch(pods, ref, change, { dryRun: true }));
  };

  /** The machine description, changed. */
  const machine = (change: (json: string) => string) => {
    const json: string = launcher().metadata.annotations['vmstead.io/machine'];
    return { metadata: { annotations: { 'vmstead.io/machine': change(json) } } };
  };

  it('as operator: what its machine is like', async () => {
    const change = machine((json) => json.replace(/}$/, ',"revision":1,"a":"\\"vm\\":"}'));
    expect(await patch('operator', change)).toBe('accepted');
  });

  it('as operator: which of its claims have grown', async () => {
    const metadata = { annotations: { 'vmstead.io/grown': 'web-data=2Gi' } };
    expect(await patch('operator', { metadata })).toBe('accepted');
  });

  it.each([
    ['operator', 'labels', () => ({ metadata: { labels: { a: 'b' } } })],
    ['operator', 'annotations', () => ({ metadata: { annotations: { a: 'b' } } })],
    ['operator', 'its machine into none', () => machine(() => '{}')],
    ['operator', 'its machine away', () => ({ metadata: { annotations: { 'vmstead.io/machine': null } } })],
    [
      'operator',
      "its machine into another VM's",
      () => machine((json) => json.replace('"name":"web"', '"name":"db"')),
    ],
    [
      'operator',
      "its machine into another life's",
      () => machine((json) => json.replace(/"incarnation":1,/, '"incarnation":2,')),
    ],
    [
      'operator',
      'its machine, said twice',
      () => machine((json) => json.replace(/}$/, ',"vm":{"namespace":"default","name":"db","uid":"x"}}')),
    ],
    [
      'operator',
      'its machine into a large one',
      () => machine((json) => json.replace(/}$/, `,"x":"${'x'.repeat(131_072)}"}`)),
    ],
    [
      'operator',
      'its machine and something else',
      () => ({
        metadata: { ...machine((json) => json.replace(/}$/, ',"revision":1}')).metadata, labels: { a: 'b' } },
      }),
    ],
    ['operator', 'owners', () => ({ metadata: { ownerReferences: null } })],
    ['operator', 'the image', () => image],
    ['uninstall', 'labels', () => ({ metadata: { labels: { a: 'b' } } })],
    [
      'uninstall',
      'a foreign finalizer',
      () => ({ metadata: { finalizers: ['vmstead.io/launcher', 'a.b/c'] } }),
    ],
    ['operator', 'a foreign finalizer', () => ({ metadata: { finalizers: ['a.b/c'] } })],
  ])('as %s not: %s', async (account, _what, change) => {
    expect(await patch(account, change())).toContain('denied request: Vmstead ');
  });

  it.each(['operator', 'uninstall'])('as %s: its finalizer, off', async (account) => {
    expect(await patch(account, { metadata: { finalizers: [] } })).toBe('accepted');
  });
});
