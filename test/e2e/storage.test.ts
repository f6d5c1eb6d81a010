import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { persistentvolumes } from '../../operator/kube/resources.ts';
import { createBlockVolume, createSmallVolume, staticStorageClass } from '../cluster/volumes.ts';
import { Bed, brief, condition } from './support/bed.ts';
import { fillClaim } from './support/fill-claim.ts';
import { boots, lastAcknowledged, lastHeartbeat } from './support/guest.ts';
import { claim, claimDisk, operation, sectorWriter, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';

/** Disks on volumes of every kind, and what goes wrong with them. */
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open('storage');
  await bed.cluster.loadImages(['vmstead/disk-tiny:dev']);
});

afterAll(() => bed.close());

describe('a volume that is full', () => {
  test('pauses the guest, says so, and lets it go on when there is room, with nothing lost', async () => {
    const node = bed.cluster.node('worker-1');
    // 56 MiB for a disk of 64 MiB, and most of that taken by somebody else.
    await using volume = await createSmallVolume(bed.cluster, node, 'small', 56);
    await node.exec(`fallocate -l 40M ${volume.path}/ballast`);
    await fillClaim(bed, 'small', 64, {
      storageClassName: staticStorageClass,
      volumeName: volume.name,
      resources: { requests: { storage: '56Mi' } },
    });
    await bed.apply(tinyVm('full', { disks: [claimDisk('data', 'small')] }));
    await bed.untilUp('full', { timeout: 120_000 });
    await bed.typeInto('full', 'fill /dev/vda 24');
    const vm = await bed.untilCondition('full', 'Ready', 'False DiskFull');
    expect(condition(vm, 'Ready')?.message).toBe(
      'The volume of disk data is full; the guest is paused and goes on by itself when there is room: enlarge the claim.',
    );
    expect([brief(vm, 'Running'), brief(vm, 'Paused'), vm.status?.phase]).toEqual([
      'False DiskFull',
      'True DiskFull',
      'Paused',
    ]);
    const beats = lastHeartbeat(bed.log('full'));
    await node.exec(`rm ${volume.path}/ballast`);
    await bed.untilCondition('full', 'Ready', 'True Running');
    await bed.untilLog('full', 'goes on', (log) => lastHeartbeat(log) > beats);
    await bed.untilLog('full', 'filled it', (log) => log.includes('VMSTEAD-FILL /dev/vda mib=24 ok'));
    await bed.typeInto('full', 'verify /dev/vda 24');
    await bed.untilLog('full', 'finds what it wrote', (log) =>
      log.includes('VMSTEAD-VERIFY /dev/vda mib=24 same'),
    );
    expect(boots(bed.log('full'))).toHaveLength(1);
    await bed.delete('full');
    await bed.untilGone('full');
    await bed.kubectl('delete', 'pvc', 'small');
  });
});

describe('a block claim', () => {
  test('is the disk itself where the runtime hands devices over, and says what to set where it does not', async () => {
    await using good = await createBlockVolume(bed.cluster, bed.cluster.node('worker-1'), 'block-good', 16);
    await using bad = await createBlockVolume(bed.cluster, bed.cluster.node('worker-2'), 'block-bad', 16);
    for (const volume of [good, bad]) {
      await bed.apply(
        claim(volume.name, {
          volumeMode: 'Block',
          storageClassName: staticStorageClass,
          volumeName: volume.name,
          resources: { requests: { storage: '16Mi' } },
        }),
        tinyVm(volume.name, { disks: [claimDisk('data', volume.name)], guest: sectorWriter('data') }),
      );
    }
    const refused = await bed.until(
      'block-bad',
      'a failed run',
      ({ status }) => status?.lastRun !== undefined,
    );
    expect(refused.status?.lastRun).toMatchObject({
      result: 'DiskUnusable',
      message:
        'disk data: user 107 may not open /dev/vmstead/data (EACCES); for a filesystem claim let group 107 write, for a block claim set device_ownership_from_security_context = true in containerd',
    });
    await bed.delete('block-bad');
    await bed.untilLog('block-good', 'writes', (log) => lastAcknowledged(log) > 0, { timeout: 120_000 });
    await bed.delete('block-good');
    await bed.untilGone('block-good');
    await bed.untilGone('block-bad');
    expect(await bed.judge('block-good', 'block-good')).toEqual([]);
    await bed.kubectl('delete', 'pvc', 'block-good', 'block-bad');
    await poll('the claims to be gone', async () => {
      const volumes = await bed.client.list(persistentvolumes);
      return volumes.every(
        ({ metadata, status }) => !metadata.name.startsWith('block-') || status?.phase !== 'Bound',
      );
    });
  });
});

describe('several VMs and one claim', () => {
  test('write to it where all of them share it; files become a disk; who wants it alone waits', async () => {
    await fillClaim(bed, 'common', 16, { storageClassName: 'shared', accessModes: ['ReadWriteMany'] });
    const common = { ...claimDisk('common', 'common'), shareable: true };
    const config = { name: 'config', source: { configMap: { name: 'app', volumeLabel: 'OEMDRV' } } };
    const field = { path: 'tier', fieldRef: { fieldPath: "metadata.labels['tier']" } };
    const fields = { name: 'fields', source: { downwardAPI: { fields: [field] } } };
    const disks = { one: [common, config, fields], two: [common] };
    await bed.apply(
      tinyVm('one', { disks: disks.one, labels: { tier: 'web' } }),
      tinyVm('two', { disks: disks.two }),
    );
    await bed.untilCondition('one', 'Ready', 'False ConfigMapNotFound');
    const data = { 'ks.cfg': 'from the map' };
    await bed.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'app' }, data });
    // The kubelet looks for it again after up to two minutes.
    for (const name of ['two', 'one']) await bed.untilUp(name, { timeout: 240_000 });
    await bed.typeInto(
      'one',
      'mkdir -p /a /b; mount -o ro /dev/vdb /a; mount -o ro /dev/vdc /b; echo it has $(cat /a/ks.cfg), $(cat /b/tier)',
    );
    await bed.untilLog('one', 'reads its files', (log) => /^it has from the map, web/m.test(log));
    await bed.typeInto('one', 'fill /dev/vda 4');
    await bed.untilLog('one', 'has written', (log) => log.includes('VMSTEAD-FILL /dev/vda mib=4 ok'));
    await bed.typeInto('two', 'verify /dev/vda 4');
    await bed.untilLog('two', 'finds it', (log) => log.includes('VMSTEAD-VERIFY /dev/vda mib=4 same'));

    await bed.apply(tinyVm('alone', { disks: [claimDisk('common', 'common')] }));
    const waits = await bed.untilCondition('alone', 'Ready', 'False ClaimInUse');
    expect(condition(waits, 'Ready')?.message).toMatch(
      /PersistentVolumeClaim common of disk common is shared by VirtualMachine (one|two) \(pod vm-(one|two)-1\); stop that VM, or give this one another claim\. Several VMs may/,
    );
    for (const name of ['alone', 'one', 'two']) await bed.delete(name);
    for (const name of ['alone', 'one', 'two']) await bed.untilGone(name);
    await bed.kubectl('delete', 'pvc', 'common');
  });
});

describe('a claim without a disk in it', () => {
  test('is told of by name', async () => {
    await bed.apply(
      claim('empty'),
      tinyVm('diskless', { runStrategy: 'Once', disks: [claimDisk('data', 'empty')] }),
    );
    const vm = await bed.untilCondition('diskless', 'Ready', 'False Failed');
    expect(condition(vm, 'Ready')?.message).toBe(
      'It ran once: disk data: there is no /disks/data/disk.img; put a raw disk of that name into the claim, or correct the source in the spec',
    );
    await bed.delete('diskless');
  });
});

describe('a disk in an OCI image', () => {
  test('boots from the firmware, and what the guest writes goes with the pod', async () => {
    const { kernel: _, ...spec } = tinyVm('image').spec;
    const vm = {
      ...tinyVm('image'),
      spec: {
        ...spec,
        disks: [
          {
            name: 'root',
            bootOrder: 1,
            source: {
              containerImage: {
                image: 'vmstead/disk-tiny:dev',
                pullPolicy: 'IfNotPresent',
                overlaySize: '64Mi',
              },
            },
          },
        ],
      },
    };
    await bed.apply(vm);
    const { status } = await bed.untilUp('image', { timeout: 150_000 });
    expect(status?.disks).toMatchObject([{ name: 'root', format: 'qcow2' }]);
    await bed.operate(operation('image-stop', 'image', 'Stop'));
    await bed.delete('image');
  });
});
