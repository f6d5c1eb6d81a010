/** Disks that change while their VM runs: a person edits the spec, and the guest goes on in the same pod. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createSmallVolume, staticStorageClass } from '../cluster/volumes.ts';
import { Bed, brief, condition } from './support/bed.ts';
import { fillClaim } from './support/fill-claim.ts';
import { boots } from './support/guest.ts';
import { killLauncher } from './support/kill.ts';
import { blankDisk, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.open('live-disks');
});
afterAll(() => bed.close());

const disksOf = async (name: string) => (await bed.vm(name)).status?.disks ?? [];

test('limits and media: at once, in the same pod, with nothing left to wait for a restart', async () => {
  await fillClaim(bed, 'iso', 4);
  const cd = { name: 'cd', device: 'cdrom' as const, source: { claim: { name: 'iso' } } };
  const data = blankDisk('data');
  const edit = (...disks: object[]) => bed.apply(tinyVm('live', { disks: disks as never }));
  await edit(data, cd);
  await bed.untilUp('live', { timeout: 120_000 });
  const pod = (await bed.vm('live')).status?.launcher?.podUID;
  await bed.until('live', 'tells of its medium', ({ status }) => status?.disks?.[1]?.media === 'Inserted');

  await edit({ ...data, limits: { iops: 50, writeBandwidth: '1Mi' } }, { name: 'cd', device: 'cdrom' });
  const changed = await bed.until(
    'live',
    'has changed',
    ({ status }) => status?.disks?.[1]?.media === 'Empty' && status.disks[0]?.limits !== undefined,
  );
  expect(changed.status?.disks).toMatchObject([
    { name: 'data', limits: 'iops 50, writeBandwidth 1Mi', aio: 'native', cache: 'none' },
    { name: 'cd', media: 'Empty' },
  ]);
  expect(changed.status).not.toHaveProperty('restartRequired');
  await bed.typeInto('live', 'until [ -b /dev/sr0 ]; do sleep 0.1; done; head -c 1 /dev/sr0 2>&1');
  await bed.untilLog('live', 'finds no medium', (log) => log.includes('No medium found'));

  // A launcher that was started again looks again.
  await killLauncher(bed, 'live');
  await edit(data, cd);
  await bed.until(
    'live',
    'is as it was',
    ({ status }) => status?.disks?.[1]?.media === 'Inserted' && status.disks[0]?.limits === undefined,
  );
  // What cannot change so, waits and says so.
  await edit({ ...data, cache: 'writeback' }, cd);
  const waits = await bed.untilCondition('live', 'RestartRequired', 'True SpecChanged');
  expect(waits.status?.restartRequired).toMatchObject([{ field: 'spec.disks[data]' }]);
  expect(waits.status?.launcher?.podUID).toBe(pod);
  expect(boots(bed.log('live'))).toHaveLength(1);
});

test('growth: of a claim whose class can expand, seen by the guest; else the reason', async () => {
  const node = bed.cluster.node('worker-1');
  // Roomier than the claim: the storage has nothing to do, and the claim's request is all that changes.
  await using volume = await createSmallVolume(bed.cluster, node, 'grow', 120);
  expect(await node.exec(`df ${volume.path}`)).toMatchObject({ exitCode: 0 });
  const storageClass = (allowVolumeExpansion: boolean) => ({
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: staticStorageClass },
    provisioner: 'kubernetes.io/no-provisioner',
    allowVolumeExpansion,
  });
  await bed.apply(storageClass(false));
  try {
    const disk = (size: string) => ({
      name: 'data',
      source: { blank: {} },
      claim: { size, storageClassName: staticStorageClass, reclaimPolicy: 'Delete' as const },
    });
    const edit = (size: string) => bed.apply(tinyVm('grow', { disks: [disk(size)] }));
    await edit('64Mi');
    await bed.untilUp('grow', { timeout: 120_000 });
    await edit('100Mi');
    const held = await bed.untilCondition('grow', 'DisksGrown', 'False ClassCannotExpand');
    expect(condition(held, 'DisksGrown')?.message).toContain(
      'PersistentVolumeClaim grow-data of disk data stays at 64Mi in place of 100Mi: StorageClass static does not allow',
    );
    expect(brief(held)).toBe('True Running');
    await bed.apply(storageClass(true));
    // The class is looked at again with the next look at the VM.
    await edit('101Mi');
    const request = ['get', 'pvc', 'grow-data', '-o', 'jsonpath={.spec.resources.requests.storage}'];
    await poll('the claim to ask for more', async () => (await bed.kubectl(...request)) === '101Mi');
    await bed.until('grow', 'is larger', ({ status }) => status?.disks?.[0]?.capacity === '101Mi');
    await bed.typeInto('grow', 'echo sectors $(cat /sys/block/vda/size)');
    await bed.untilLog('grow', 'sees it', (log) => log.includes(`sectors ${101 * 2048}`));
    expect((await disksOf('grow'))[0]).not.toHaveProperty('problem');
    expect(boots(bed.log('grow'))).toHaveLength(1);
  } finally {
    await bed.kubectl('delete', 'vm.vmstead.io', 'grow', '--ignore-not-found');
    await bed.untilGone('grow');
    await bed.kubectl('delete', 'storageclass', staticStorageClass);
  }
});
