/** For each rule about several members together: how to break it. Rules on a change are not here: zod cannot know them. */
import type { Json } from './specs.ts';

// biome-ignore lint/suspicious/noExplicitAny: a random object that is being broken
type Loose = any;
type Breaker = (object: Loose) => void;

const claim = (name: string) => ({ name, source: { claim: { name } } });
const disks =
  (...list: Json[]): Breaker =>
  ({ spec }) => {
    spec.disks = list;
  };
const networks =
  (...list: Json[]): Breaker =>
  ({ spec }) => {
    spec.networks = list;
  };
const pod =
  (member: string, map: Record<string, string>): Breaker =>
  ({ spec }) => {
    spec.pod = { [member]: map };
  };
const blank = { name: 'data', source: { blank: {} }, claim: { size: '1Gi' } };

const LABEL_KEY =
  'the key of a label must be a name such as tier or example.com/tier: at most 63 letters, digits, dots, hyphens and underscores behind the prefix';
const LABEL_VALUE =
  'the value of a label must be letters, digits, dots, hyphens and underscores, with a letter or digit at both ends, or empty';

/** Every place of a label selector, and how to put one there. */
const LABEL_SELECTORS = [
  ...['podAffinity', 'podAntiAffinity'].flatMap((kind) =>
    ['labelSelector', 'namespaceSelector'].flatMap((member) => [
      [
        `.spec.pod.affinity.${kind}.requiredDuringSchedulingIgnoredDuringExecution[].${member}`,
        affinity(kind, 'required', (selector) => ({ topologyKey: 'zone', [member]: selector })),
      ] as const,
      [
        `.spec.pod.affinity.${kind}.preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm.${member}`,
        affinity(kind, 'preferred', (selector) => ({
          weight: 1,
          podAffinityTerm: { topologyKey: 'zone', [member]: selector },
        })),
      ] as const,
    ]),
  ),
  [
    '.spec.pod.topologySpreadConstraints[].labelSelector',
    ({ spec }: Loose, labelSelector: Json) => {
      const constraint = {
        maxSkew: 1,
        topologyKey: 'zone',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector,
      };
      spec.pod = { topologySpreadConstraints: [constraint] };
    },
  ] as const,
];

function affinity(kind: string, how: 'required' | 'preferred', term: (selector: Json) => Json) {
  return ({ spec }: Loose, selector: Json): void => {
    spec.pod = {
      affinity: { [kind]: { [`${how}DuringSchedulingIgnoredDuringExecution`]: [term(selector)] } },
    };
  };
}

/** By `path: message`, the path being the rule's own place in the schema. */
export const BREAKERS: Readonly<Record<string, Breaker>> = {
  ': the name of a VirtualMachine must have at most 50 characters and no dot: it is part of the names of its pod and claims':
    ({ metadata }) => {
      metadata.name = 'a.b';
    },
  '.spec: a VM needs something to boot: at least one entry in disks, or kernel': ({ spec }) => {
    delete spec.disks;
    delete spec.kernel;
  },
  '.spec: firmware.type UEFI needs state: {size: 64Mi}, a claim in which its variables are kept': ({
    spec,
  }) => {
    spec.firmware = { type: 'UEFI' };
    delete spec.state;
  },
  '.spec: resources.limits.memory must be more than memory.size: QEMU itself needs memory too; better leave it out':
    ({ spec }) => {
      spec.memory.size = '2Gi';
      spec.resources = { limits: { memory: '2048Mi' } };
    },
  '.spec.cpu: sockets × cores × threads must be at most 256': ({ spec }) => {
    spec.cpu = { sockets: 2, cores: 129 };
  },
  '.spec.resources: requests.cpu must not be more than limits.cpu': ({ spec }) => {
    spec.resources = { requests: { cpu: '1001m' }, limits: { cpu: '1' } };
  },
  '.spec.resources: requests.memory must not be more than limits.memory': ({ spec }) => {
    spec.memory.size = '1Gi';
    spec.resources = { requests: { memory: '3Gi' }, limits: { memory: '2.5Gi' } };
  },
  '.spec.disks: two disks have the same bootOrder; give each its own number, or leave it out': disks(
    { ...claim('a'), bootOrder: 7 },
    claim('b'),
    { ...claim('c'), bootOrder: 7 },
  ),
  '.spec.disks: two disks name the same claim; a claim holds one disk': disks(claim('a'), {
    ...claim('a'),
    name: 'b',
  }),
  '.spec.disks[]: a blank disk needs claim: {size: 10Gi}, the claim to make for it': disks({
    name: 'data',
    source: { blank: {} },
  }),
  '.spec.disks[]: claim goes with source.blank, and with source.image of a disk; take it away: an existing claim keeps its own size and class, and a container image or a cdrom needs none':
    disks({ ...claim('a'), claim: { size: '1Gi' } }),
  '.spec.disks[]: a disk with a claim of its own cannot have the name state: its claim would have the name of the state claim':
    disks({
      ...blank,
      name: 'state',
    }),
  '.spec.disks[]: a cdrom cannot be blank; give it source.claim, source.image or source.containerImage':
    disks({
      ...blank,
      device: 'cdrom',
    }),
  '.spec.disks[]: there is no virtio or nvme cdrom; leave bus out, or make it sata, scsi, ide or usb': disks({
    ...claim('a'),
    device: 'cdrom',
    bus: 'nvme',
  }),
  '.spec.disks[]: a disk needs a source; only a cdrom may be without, as an empty drive': disks({
    name: 'a',
  }),
  '.spec.disks[]: a cdrom has no limits; take them away': disks({
    name: 'a',
    device: 'cdrom',
    limits: { iops: 5 },
  }),
  '.spec.disks[]: aio native needs cache none: Linux does it past the page cache only; leave one of them out':
    disks({ ...claim('a'), aio: 'native', cache: 'writeback' }),
  '.spec.disks[]: preallocate goes with source.blank only: other disks are made already; take it away': disks(
    { ...claim('a'), preallocate: true },
  ),
  '.spec.disks[].limits: iops is for reading and writing together; take it away, or readIops and writeIops':
    disks({ ...claim('a'), limits: { iops: 5, writeIops: 7 } }),
  '.spec.disks[].limits: bandwidth is for reading and writing together; take it away, or readBandwidth and writeBandwidth':
    disks({ ...claim('a'), limits: { bandwidth: '1Mi', readBandwidth: '2Mi' } }),
  '.spec.disks[].source: must have exactly one of claim, blank, image, containerImage, ephemeral, configMap, secret, downwardAPI or sysprep':
    disks(claim('a'), {
      ...blank,
      source: { blank: {}, claim: { name: 'x' } },
    }),
  '.spec.disks[].source.ephemeral: must have either claim or image': disks({
    name: 'a',
    source: { ephemeral: { overlaySize: '1Gi' } },
  }),
  '.spec.disks[].source.sysprep: must have either configMap or secret': disks({
    name: 'a',
    device: 'cdrom',
    source: { sysprep: { configMap: { name: 'a' }, secret: { name: 'a' } } },
  }),
  ".spec.disks[]: answer files need device: cdrom; Windows' Setup looks for them on removable media": disks({
    name: 'a',
    source: { sysprep: { secret: { name: 'a' } } },
  }),
  '.spec.disks[]: a sata or ide disk cannot be read-only, as files from a ConfigMap or Secret are; make it a cdrom, or take another bus':
    disks({ name: 'a', bus: 'ide', source: { configMap: { name: 'a' } } }),
  '.spec.disks[]: a cdrom is only read; give it source.claim or source.image in the place of source.ephemeral':
    disks({ name: 'a', device: 'cdrom', source: { ephemeral: { claim: { name: 'a' } } } }),
  '.spec.disks[]: a shareable disk is a raw one past the page cache: give it source.claim or source.blank, and leave cache out':
    disks({ ...claim('a'), shareable: true, cache: 'writeback' }),
  '.spec.networks: only one network can be the pod network; take the others away': networks(
    { name: 'a', pod: {} },
    { name: 'b', pod: {} },
  ),
  '.spec.networks: two networks have the same macAddress; give each its own, or leave it out': networks(
    { name: 'a', pod: {}, macAddress: '02:00:00:00:00:01' },
    { name: 'b', pod: {}, macAddress: '02:00:00:00:00:01' },
  ),
  '.spec.networks[]: needs pod: {}, the only kind of network so far': networks({ name: 'a' }),
  '.spec.networks[].ports: two ports have the same port and protocol; list each once': networks({
    name: 'a',
    pod: {},
    ports: [
      { name: 'x', port: 80 },
      { name: 'y', port: 80, protocol: 'TCP' },
    ],
  }),
  '.spec.cloudInit: must have exactly one of userData and userDataSecretRef': ({ spec }) => {
    spec.cloudInit = { hostname: 'web' };
  },
  '.spec.cloudInit: must not have both networkData and networkDataSecretRef; take one away': ({ spec }) => {
    spec.cloudInit = { userData: '', networkData: '', networkDataSecretRef: { name: 'net' } };
  },
  ...Object.fromEntries(
    (['labels', 'nodeSelector'] as const).flatMap((member) => [
      [`.spec.pod.${member}: ${LABEL_KEY}`, pod(member, { 'a b': 'x' })],
      [`.spec.pod.${member}: ${LABEL_VALUE}`, pod(member, { a: 'x y' })],
    ]),
  ),
  ...Object.fromEntries(
    LABEL_SELECTORS.flatMap(([path, set]) => [
      [`${path}.matchLabels: ${LABEL_KEY}`, (object: Loose) => set(object, { matchLabels: { 'a b': 'x' } })],
      [`${path}.matchLabels: ${LABEL_VALUE}`, (object: Loose) => set(object, { matchLabels: { a: 'x y' } })],
    ]),
  ),
  '.spec.pod.annotations: the key of an annotation must be a name such as tier or example.com/tier: at most 63 letters, digits, dots, hyphens and underscores behind the prefix':
    pod('annotations', { 'a b': 'x' }),
  ': the name of a VirtualMachineImage must have at most 50 characters and no dot: it is part of the names of its pod and claim':
    ({ metadata }) => {
      metadata.name = 'a.b';
    },
  '.spec.source: must have exactly one of http, containerImage, claim, snapshot, upload or blank': ({
    spec,
  }) => {
    spec.source = { blank: {}, upload: {} };
  },
  '.spec: a blank image needs claim: {size: 10Gi}, which is as large as its disk': ({ spec }) => {
    spec.source = { blank: {} };
    spec.claim = { volumeMode: 'Block' };
  },
  '.spec.source.http: must not have both checksum and checksumURL; take one away': ({ spec }) => {
    const checksum = `sha256:${'0'.repeat(64)}`;
    spec.source = { http: { url: 'http://a/b', checksum, checksumURL: 'http://a/c' } };
  },
  '.spec: must have either virtualMachine or selector': ({ spec }) => {
    spec.virtualMachine = 'web';
    spec.selector = { matchLabels: {} };
  },
  [`.spec.selector.matchLabels: ${LABEL_KEY}`]: ({ spec }) => {
    delete spec.virtualMachine;
    spec.selector = { matchLabels: { 'a b': 'x' } };
  },
  [`.spec.selector.matchLabels: ${LABEL_VALUE}`]: ({ spec }) => {
    delete spec.virtualMachine;
    spec.selector = { matchLabels: { a: 'x y' } };
  },
  '.spec: must have either snapshot or lastValid: true': ({ spec }) => {
    spec.snapshot = 'before';
    spec.lastValid = true;
  },
  '.spec: force goes with type Stop or Restart only; take it away': ({ spec }) => {
    spec.type = 'Pause';
    spec.force = true;
  },
};
