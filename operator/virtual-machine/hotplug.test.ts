import { describe, expect, it } from 'vitest';
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { machineDescription } from '../../crds/machine-description.ts';
import { ModelCluster } from '../../test/model/cluster.ts';
import { attachmentKey } from '../channel/attachment-key.ts';
import { attachmentName, launcherOfHolder } from './attachments.ts';

const blank = (name: string, more: object = {}) => ({
  ...{ name, source: { blank: {} }, claim: { size: '1Gi' } },
  ...more,
});
type Disks = NonNullable<Parameters<ModelCluster['editSpec']>[1]['disks']>;

/** A VM that runs without a disk, and then has these in its spec. */
function plugged(...disks: object[]): ModelCluster {
  const cluster = new ModelCluster();
  cluster.addVm('web', { memory: { size: '64Mi' }, kernel: { image: 'a', path: '/a' } });
  rest(cluster);
  cluster.editSpec('web', { disks: disks as Disks });
  rest(cluster);
  return cluster;
}

function rest(cluster: ModelCluster): void {
  for (let round = 0; round < 12; round++) {
    cluster.now += 1000;
    for (const contact of cluster.contacts.values()) contact.lastHeardAt = cluster.now;
    for (const uid of cluster.contacts.keys()) cluster.look(uid);
    cluster.snapshot();
    cluster.reconcile('web');
    for (const pod of [...cluster.stored.pods.values()]) {
      if (pod.metadata.deletionTimestamp !== undefined) cluster.endPod(pod, 'Stopped');
      else if (!pod.status?.containerStatuses) cluster.startPod(pod);
    }
  }
}

const status = (cluster: ModelCluster) => cluster.stored.vms.get('web')?.status;
const stateOf = (cluster: ModelCluster, name: string) =>
  status(cluster)?.disks?.find((disk) => disk.name === name)?.attachment?.state;
const exporting = (cluster: ModelCluster) =>
  [...cluster.stored.pods.values()].filter((pod) => pod.metadata.labels?.[LABEL.attachment] === 'web');
const machine = (cluster: ModelCluster) =>
  machineDescription.parse(
    JSON.parse(cluster.stored.pods.get('vm-web-1')?.metadata.annotations?.[ANNOTATION.machine] ?? ''),
  );

describe('a disk that is added to the spec of a VM that runs', () => {
  it('is plugged in, with nothing left for a restart', () => {
    const cluster = plugged(blank('data'));
    expect(stateOf(cluster, 'data')).toBe('Hotplugged');
    expect(status(cluster)).not.toHaveProperty('restartRequired');
    expect(status(cluster)?.conditions?.map(({ type }) => type)).not.toContain('DisksAttached');
    expect(exporting(cluster).map((pod) => pod.metadata.name)).toEqual(['vm-web-1.data.1']);
    expect([...cluster.stored.leases.values()].map(({ spec }) => spec?.holderIdentity)).toEqual([
      'vm-web-1.data.1',
    ]);
  });

  it.each([
    ['on another bus', blank('data', { bus: 'scsi' })],
    ['as an empty drive', { name: 'data', device: 'cdrom' }],
    ['from a container image', { name: 'data', source: { containerImage: { image: 'a' } } }],
    ['that is shared', blank('data', { shareable: true })],
  ])('waits for the next start %s', (_what, disk) => {
    const cluster = plugged(disk);
    expect(status(cluster)?.restartRequired).toMatchObject([{ field: 'spec.disks[data]' }]);
    expect(exporting(cluster)).toEqual([]);
  });

  it('waits for the next start where all ports are taken', () => {
    const cluster = plugged(...['a', 'b', 'c', 'd', 'e'].map((name) => blank(name)));
    expect(exporting(cluster)).toHaveLength(4);
    expect(status(cluster)?.restartRequired).toMatchObject([{ field: 'spec.disks[e]' }]);
  });

  it('says that it grows at the next start', () => {
    const cluster = plugged(blank('data'));
    for (const contact of cluster.contacts.values()) {
      for (const disk of contact.report?.disks ?? []) disk.capacityBytes = 1000 * 2 ** 20;
    }
    const seen = () => {
      cluster.reconcile('web');
      return status(cluster)?.disks?.[0]?.attachment?.message;
    };
    expect(seen()).toBeUndefined();
    const [claim] = [...cluster.stored.claims.values()];
    cluster.stored.claims.set('web-data', {
      ...claim!,
      spec: { ...claim?.spec, resources: { requests: { storage: '2Gi' } } },
    });
    cluster.snapshot();
    expect(seen()).toMatch(/^it has .* of the 2Gi of its claim, and takes the rest at the next start$/);
  });

  it('keeps its place in the list, which QEMU names it by, when another one goes', () => {
    const cluster = plugged(blank('a'), blank('b'));
    cluster.editSpec('web', { disks: [blank('b')] as Disks });
    rest(cluster);
    expect(machine(cluster).disks.map(({ name, unplugged }) => [name, unplugged])).toEqual([
      ['a', true],
      ['b', undefined],
    ]);
    expect(stateOf(cluster, 'a')).toBeUndefined();
    cluster.editSpec('web', { disks: [blank('b'), blank('c')] as Disks });
    rest(cluster);
    expect(machine(cluster).disks.map(({ name }) => name)).toEqual(['c', 'b']);
    expect(stateOf(cluster, 'c')).toBe('Hotplugged');
  });
});

describe('a disk that is taken away', () => {
  it('stays with a guest that does not let go, which is told, and may be put back', () => {
    const cluster = plugged(blank('data'));
    cluster.stubborn = true;
    cluster.editSpec('web', { disks: [] });
    rest(cluster);
    expect(stateOf(cluster, 'data')).toBe('Detaching');
    const told = status(cluster)?.conditions?.find(({ type }) => type === 'DisksAttached');
    expect(told).toMatchObject({ status: 'False', reason: 'Detaching' });
    expect(told?.message).toBe('Disk data is being detached: the guest does not let go.');
    expect(exporting(cluster)).toHaveLength(1);
    cluster.editSpec('web', { disks: [blank('data')] as Disks });
    rest(cluster);
    expect(stateOf(cluster, 'data')).toBe('Hotplugged');
    expect(exporting(cluster).map((pod) => pod.metadata.name)).toEqual(['vm-web-1.data.1']);
  });
});

describe('names and keys', () => {
  it('no two disks of any VMs have one name', () => {
    expect(attachmentName('vm-a-1', 'b', 2)).not.toBe(attachmentName('vm-a', '1-b', 2));
    expect(launcherOfHolder(attachmentName('vm-a-1', 'b', 2))).toBe('vm-a-1');
    expect(launcherOfHolder('vm-a-1')).toBeUndefined();
  });

  it('a key is of its pod and of the secret, and says nothing of either', () => {
    const key = attachmentKey('secret', 'uid');
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(attachmentKey('secret', 'uid')).toBe(key);
    expect(attachmentKey('secret', 'other')).not.toBe(key);
    expect(attachmentKey('other', 'uid')).not.toBe(key);
  });
});
