import { describe, expect, it } from 'vitest';
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { imageClaimName } from '../image/names.ts';
import { ImageCluster, METADATA } from '../image/testing.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';
import type { Cloning } from './cloning.ts';
import { planVirtualMachine } from './plan.ts';
import { statusOf } from './status.ts';
import { aPod, aVm, aWorld, NOW } from './testing.ts';
import type { World } from './world.ts';

const cluster = new ImageCluster();
cluster.addImage();
const image = cluster.stored.image!;
const baseName = imageClaimName('debian', image.spec.source);
const record = { image: 'debian', imageUid: image.metadata.uid, claim: baseName, claimUid: 'base-uid' };
const imageOwner = {
  apiVersion: 'vmstead.io/v1alpha1',
  kind: 'VirtualMachineImage',
  name: 'debian',
  uid: image.metadata.uid ?? '',
};

function base(annotations: object = {}, format = 'qcow2'): PersistentVolumeClaim {
  return {
    metadata: {
      name: baseName,
      namespace: 'default',
      uid: 'base-uid',
      resourceVersion: '1',
      annotations: { [ANNOTATION.image]: JSON.stringify({ ...METADATA, format }), ...annotations },
      ownerReferences: [imageOwner],
    },
    spec: { volumeName: 'pv-base', resources: { requests: { storage: '100Mi' } } },
    status: { phase: 'Bound', capacity: { storage: '200Mi' } },
  };
}

function disk(bound: boolean, format = 'qcow2', more: object = {}): PersistentVolumeClaim {
  return {
    metadata: {
      name: 'web-root',
      namespace: 'default',
      uid: 'root-uid',
      resourceVersion: '1',
      labels: { [LABEL.managedBy]: 'vmstead', [LABEL.vm]: 'web', [LABEL.disk]: 'root' },
      annotations: {
        [ANNOTATION.base]: JSON.stringify(record),
        [ANNOTATION.clone]: JSON.stringify({ image: 'debian', format }),
      },
      ...more,
    },
    spec: { resources: { requests: { storage: '1Gi' } }, ...(bound ? { volumeName: 'pv' } : {}) },
    status: { phase: bound ? 'Bound' : 'Pending' },
  };
}

const able: Cloning = {
  drivers: new Map([[baseName, 'a.driver']]),
  provisioners: new Map([['', 'a.driver']]),
  failures: new Map(),
};

function world(
  claims: readonly PersistentVolumeClaim[],
  change: Partial<World> = {},
  root: object = {},
): World {
  const byName = new Map(claims.map((each) => [each.metadata.name, each]));
  return aWorld({
    vm: aVm({ disks: [{ name: 'root', source: { image: { name: 'debian' } }, ...root }] }),
    claims: byName,
    images: new Map([['debian', image]]),
    imageClaims: byName,
    cloning: able,
    ...change,
  });
}

const actionsIn = (seen: World) => planVirtualMachine(seen).actions;
const madeIn = (seen: World): PersistentVolumeClaim => {
  const [create] = actionsIn(seen);
  expect(create?.type).toBe('CreateClaim');
  return (create as { claim: PersistentVolumeClaim }).claim;
};

describe('a disk from an image on storage that may clone', () => {
  it('is a clone, at least as large as the image and as the claim that it is of', () => {
    const made = madeIn(world([base()]));
    expect(made.spec).toMatchObject({
      dataSource: { kind: 'PersistentVolumeClaim', name: baseName },
      resources: { requests: { storage: '200Mi' } },
    });
    expect(made.metadata.annotations?.[ANNOTATION.clone]).toBe('{"image":"debian","format":"qcow2"}');
  });

  it.each<[why: string, seen: World]>([
    ['it is to stay linked', world([base()], {}, { source: { image: { name: 'debian', clone: 'Linked' } } })],
    [
      'another driver makes the disk',
      world([base()], { cloning: { ...able, provisioners: new Map([['', 'b']]) } }),
    ],
    ['the image is on no CSI volume', world([base()], { cloning: { ...able, drivers: new Map() } })],
    ['the disk is to be a device', world([base()], {}, { claim: { volumeMode: 'Block' } })],
    [
      'it is to be smaller than what it would be a clone of',
      world([base()], {}, { claim: { size: '150Mi' } }),
    ],
    ['the storage has refused it', world([base({ [ANNOTATION.cloneRefused]: 'clones are not supported' })])],
    ['nothing can write to its format', world([base({}, 'vmdk')])],
  ])('is an overlay where %s', (_, seen) => {
    const made = madeIn(seen);
    expect(made.spec?.dataSource).toBeUndefined();
    expect(made.metadata.annotations?.[ANNOTATION.clone]).toBeUndefined();
  });

  it('keeps the image until it is made, and lets go of it then', () => {
    const making = actionsIn(world([base(), disk(false)]));
    expect(making.map(({ type }) => type)).toEqual(['SetClaimOwner', 'TakeLease', 'CreatePod']);
    expect(making[0]).toMatchObject({
      owners: [imageOwner, { kind: 'PersistentVolumeClaim', uid: 'root-uid' }],
    });
    const kept = {
      ...base(),
      metadata: {
        ...base().metadata,
        ownerReferences: [
          imageOwner,
          { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name: 'web-root', uid: 'root-uid' },
        ],
      },
    };
    const made = actionsIn(world([kept, disk(true)], { pods: [aPod(1)] }));
    expect(made).toMatchObject([
      { type: 'LetGoOfBase', claim: { metadata: { name: 'web-root' } } },
      { type: 'SetClaimOwner', owners: [imageOwner] },
    ]);
  });

  it.each([
    [
      'qcow2',
      {
        type: 'file',
        path: '/disks/root/disk.qcow2',
        format: 'qcow2',
        create: { maxBytes: 2 ** 30, cloned: true },
      },
    ],
    [
      'raw',
      {
        type: 'file',
        path: '/disks/root/disk.img',
        format: 'raw',
        create: { maxBytes: 2 ** 30, cloned: true },
      },
    ],
  ])('has what the image was: %s, and needs no other file', (format, backend) => {
    const seen = world([base({}, format), disk(true, format)]);
    const plan = planVirtualMachine(seen);
    expect(plan.decision?.wanted.disks[0]?.backend).toEqual(backend);
    expect(statusOf(seen, plan.decision!, undefined).disks?.[0]?.base).toEqual({
      image: 'debian',
      state: 'Independent',
      method: 'Clone',
    });
  });

  it('is made anew as an overlay where the driver does not clone', () => {
    const words = 'rpc error: code = InvalidArgument desc = driver does not support clone operations';
    const failures = new Map([['web-root', { words, since: NOW }]]);
    const failing = { cloning: { ...able, failures }, pods: [aPod(1)] };
    expect(actionsIn(world([base(), disk(false)], failing))).toContainEqual(
      expect.objectContaining({ type: 'RefuseClone', words }),
    );
    // A full pool may have room again.
    const full = new Map([['web-root', { words: 'no space', since: NOW - 50_000 }]]);
    const types = (seen: World) => actionsIn(seen).map(({ type }) => type);
    expect(types(world([base(), disk(false)], { cloning: { ...able, failures: full } }))).not.toContain(
      'RefuseClone',
    );
    const refused = base({ [ANNOTATION.cloneRefused]: words });
    expect(types(world([refused, disk(false)], failing))).toEqual(['SetClaimOwner', 'DeletePod']);
    const [, , discard] = [undefined, undefined, ...actionsIn(world([refused, disk(false)])).slice(-1)];
    expect(discard).toMatchObject({ type: 'SetClaimOwner', claim: { metadata: { name: 'web-root' } } });
    // What has a volume is never given up.
    expect(types(world([refused, disk(true)], { pods: [aPod(1)] }))).toEqual(['LetGoOfBase']);
  });
});
