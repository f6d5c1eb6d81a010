import { describe, expect, it } from 'vitest';
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { machineDescription } from '../../crds/machine-description.ts';
import { imageClaimName } from '../image/names.ts';
import { ImageCluster, METADATA } from '../image/testing.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';
import { planVirtualMachine } from './plan.ts';
import { pendingChanges } from './restart-required.ts';
import { statusOf } from './status.ts';
import { aPod, aVm, aWorld, container, NOW } from './testing.ts';
import type { World } from './world.ts';

const cluster = new ImageCluster();
cluster.addImage();
const image = cluster.stored.image!;
const baseName = imageClaimName('debian', image.spec.source);
const record = { image: 'debian', imageUid: image.metadata.uid, claim: baseName, claimUid: 'base-uid' };

function claim(name: string, metadata: object, volumeMode = 'Filesystem'): PersistentVolumeClaim {
  return {
    metadata: { name, namespace: 'default', uid: `${name}-uid`, resourceVersion: '1', ...metadata },
    spec: { volumeMode, resources: { requests: { storage: '1Gi' } } },
    status: { phase: 'Bound' },
  };
}

const imageOwner = {
  apiVersion: 'vmstead.io/v1alpha1',
  kind: 'VirtualMachineImage',
  name: 'debian',
  uid: record.imageUid!,
};
const base = (metadata: object = {}, volumeMode?: string) =>
  claim(
    baseName,
    {
      uid: 'base-uid',
      annotations: { [ANNOTATION.image]: JSON.stringify(METADATA) },
      ownerReferences: [imageOwner],
      ...metadata,
    },
    volumeMode,
  );
const disk = (annotations: object = { [ANNOTATION.base]: JSON.stringify(record) }, volumeMode?: string) =>
  claim(
    'web-root',
    {
      labels: { [LABEL.managedBy]: 'vmstead', [LABEL.vm]: 'web', [LABEL.disk]: 'root' },
      annotations,
    },
    volumeMode,
  );

const root = { name: 'root', source: { image: { name: 'debian' } }, claim: { size: '1Gi' } };

function world(
  claims: readonly PersistentVolumeClaim[],
  change: Partial<World> = {},
  spec: object = root,
): World {
  const byName = new Map(claims.map((each) => [each.metadata.name, each]));
  return aWorld({
    vm: aVm({ disks: [spec] }),
    claims: byName,
    images: new Map([['debian', image]]),
    imageClaims: byName,
    ...change,
  });
}

const waitIn = (seen: World) => planVirtualMachine(seen).decision?.stage.running;
const actionsIn = (seen: World) => planVirtualMachine(seen).actions;

describe('a disk from an image waits', () => {
  it.each<[reason: string, message: string, seen: World]>([
    [
      'ImageNotFound',
      'VirtualMachineImage debian of disk root does not exist; create it, or name another one in spec.disks.',
      world([], { images: new Map() }),
    ],
    [
      'ImageNotReady',
      'VirtualMachineImage debian of disk root is not ready; the VM starts when it is.',
      world([base({ annotations: {} })]),
    ],
    [
      'ImageTooLarge',
      'The disk in VirtualMachineImage debian has 64Mi, the claim of disk root only 63Mi; raise its claim.size.',
      world([base()], {}, { ...root, claim: { size: '63Mi' } }),
    ],
    [
      'ImageLost',
      `Disk root still needs image debian, and PersistentVolumeClaim ${baseName}, which held it, does not hold it any more; restore that claim, or the disk from a backup.`,
      world([disk()]),
    ],
    [
      'ImageLost',
      `Disk root still needs image debian, and PersistentVolumeClaim ${baseName}, which held it, does not hold it any more; restore that claim, or the disk from a backup.`,
      world([disk(), base({ uid: 'another' })]),
    ],
    [
      'ClaimIsImage',
      `PersistentVolumeClaim ${baseName} of disk root holds VirtualMachineImage debian, which nothing may write to; take source.image in the place of source.claim.`,
      world(
        [base({ labels: { [LABEL.image]: 'debian' } })],
        {},
        { name: 'root', source: { claim: { name: baseName } } },
      ),
    ],
  ])('%s', (reason, message, seen) => {
    expect(waitIn(seen)).toMatchObject({ status: 'False', reason, message });
    expect(actionsIn(seen)).toEqual([]);
  });
});

describe('a disk from an image', () => {
  it('gets a claim that says which image it needs', () => {
    const [create] = actionsIn(world([base()]));
    expect(create).toMatchObject({ type: 'CreateClaim', claim: { metadata: { name: 'web-root' } } });
    const made = create as { claim: { metadata: { annotations: Record<string, string> } } };
    expect(JSON.parse(made.claim.metadata.annotations[ANNOTATION.base]!)).toEqual(record);
  });

  it('keeps the image alive before its VM starts, also when the image object is gone', () => {
    const actions = actionsIn(world([disk(), base()], { images: new Map() }));
    expect(actions.map(({ type }) => type)).toEqual(['SetClaimOwner', 'TakeLease', 'CreatePod']);
    expect(actions[0]).toMatchObject({
      owners: [imageOwner, { kind: 'PersistentVolumeClaim', uid: 'web-root-uid' }],
    });
  });

  it('adds no owner to a claim that is to stay', () => {
    const actions = actionsIn(world([disk(), base({ ownerReferences: [] })]));
    expect(actions.map(({ type }) => type)).toEqual(['TakeLease', 'CreatePod']);
  });

  it.each([
    ['Filesystem', `/bases/root/disk.qcow2`, '/disks/root/disk.qcow2'],
    ['Block', '/dev/vmstead-bases/root', '/dev/vmstead/root'],
  ])('is an overlay on the image, which is mounted read-only (%s)', (mode, basePath, path) => {
    const actions = actionsIn(world([disk(undefined, mode), base({}, mode)]));
    const create = actions.find((action) => action.type === 'CreatePod');
    if (create?.type !== 'CreatePod') throw new Error('no pod');
    const { pod } = create;
    const machine = machineDescription.parse(
      JSON.parse(pod.metadata.annotations?.[ANNOTATION.machine] ?? ''),
    );
    expect(machine.disks[0]?.backend).toMatchObject({
      path,
      format: 'qcow2',
      flatten: true,
      base: { path: basePath },
    });
    const [at] = [...(pod.spec?.containers[0]?.volumeMounts ?? [])].filter(
      ({ name }) => name === 'base-root',
    );
    const volume = pod.spec?.volumes?.find(({ name }) => name === 'base-root');
    expect(volume?.persistentVolumeClaim?.claimName).toBe(baseName);
    expect(mode === 'Block' ? volume?.persistentVolumeClaim?.readOnly : at?.readOnly).toBe(true);
  });

  it('is only the disk when it is independent', () => {
    const plan = planVirtualMachine(world([disk({})], { images: new Map() }));
    expect(plan.actions.map(({ type }) => type)).toEqual(['TakeLease', 'CreatePod']);
    expect(plan.decision?.wanted.disks[0]?.backend).toEqual({
      type: 'file',
      path: '/disks/root/disk.qcow2',
      format: 'qcow2',
      create: { maxBytes: 2 ** 30 },
    });
  });

  it('is the image itself in a cdrom, without a claim', () => {
    const drive = { name: 'root', device: 'cdrom', source: { image: { name: 'debian' } } };
    const { decision, actions } = planVirtualMachine(world([base()], {}, drive));
    expect(actions.map(({ type }) => type)).toEqual(['CreatePod']);
    expect(decision?.wanted.disks[0]).toMatchObject({
      readOnly: true,
      backend: { type: 'base', base: { path: '/bases/root/disk.qcow2', format: 'qcow2' } },
    });
  });

  it('is below a throw-away overlay of an ephemeral disk, without a claim and without a lease', () => {
    const ephemeral = { name: 'root', source: { ephemeral: { image: { name: 'debian' } } } };
    const { decision, actions } = planVirtualMachine(world([base()], {}, ephemeral));
    expect(actions.map(({ type }) => type)).toEqual(['CreatePod']);
    expect(decision?.wanted.disks[0]).toMatchObject({
      readOnly: false,
      backend: {
        type: 'ephemeral',
        base: { path: '/bases/root/disk.qcow2', format: 'qcow2', virtualBytes: METADATA.virtualBytes },
        overlay: { path: '/var/lib/vmstead/root.qcow2' },
      },
    });
    const waits = planVirtualMachine(world([], {}, ephemeral));
    expect(waits.decision?.wait?.reason).toBe('ImageNotReady');
  });
});

describe('a disk that has become independent', () => {
  const started = planVirtualMachine(world([disk(), base()])).decision!.wanted;
  const running = (state: 'Linked' | 'Independent', owners: readonly object[]): World =>
    world([disk(), base({ ownerReferences: owners })], {
      pods: [
        aPod(1, {
          spec: { nodeName: 'worker', containers: [] },
          metadata: {
            ...aPod(1).metadata,
            annotations: { [ANNOTATION.machine]: JSON.stringify(started) },
          },
          status: {
            containerStatuses: [container({ running: { startedAt: new Date(NOW - 60_000).toISOString() } })],
          },
        }),
      ],
      contacts: new Map([
        [
          'pod-1',
          {
            connected: true,
            lastHeardAt: NOW,
            launcherVersion: '1',
            features: [],
            results: new Map(),
            report: { state: 'Running', disks: [{ name: 'root', base: { state } }] },
          },
        ],
      ]),
    });
  const diskOwner = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    name: 'web-root',
    uid: 'web-root-uid',
  };

  it('lets go of the image: first its own record, then the owner that kept the image alive', () => {
    expect(actionsIn(running('Linked', [imageOwner, diskOwner]))).toEqual([]);
    const actions = actionsIn(running('Independent', [imageOwner, diskOwner]));
    expect(actions).toMatchObject([
      { type: 'LetGoOfBase', claim: { metadata: { name: 'web-root' } } },
      { type: 'SetClaimOwner', owners: [imageOwner] },
    ]);
  });

  it('leaves an image that is gone to Kubernetes: a claim without owners would stay for ever', () => {
    expect(actionsIn(running('Independent', [diskOwner]))[1]).toMatchObject({ owners: [imageOwner] });
  });

  it('waits for no restart, and says so', () => {
    const free = planVirtualMachine(world([disk({})])).decision!.wanted;
    expect(pendingChanges(started, free)).toEqual([]);
    const seen = running('Independent', [imageOwner]);
    const { decision } = planVirtualMachine(seen);
    expect(statusOf(seen, decision!, undefined).disks?.[0]?.base).toEqual({
      image: 'debian',
      state: 'Independent',
      method: 'Overlay',
    });
  });
});
