import { afterAll, beforeAll, describe, it } from 'vitest';
import { startCsi } from '../cluster/csi.ts';
import { testClusterProvider } from '../cluster/index.ts';
import { claim, PlainNamespace, pod } from './support/plain-pods.ts';

/** What the classes of the test cluster can do: what Vmstead finds out and uses. */
let space: PlainNamespace;

beforeAll(async () => {
  const cluster = await testClusterProvider().ensure();
  [space] = await Promise.all([PlainNamespace.open(cluster, 'storage-classes-test'), startCsi(cluster)]);
});

afterAll(async () => {
  await space.close();
});

const mounted = (node: string, ...claims: string[]): Parameters<typeof pod>[1] => ({
  node,
  volumes: claims.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
  container: { volumeMounts: claims.map((name) => ({ name, mountPath: `/${name}` })) },
});

const asDevice = (node: string, name: string): Parameters<typeof pod>[1] => ({
  node,
  volumes: [{ name, persistentVolumeClaim: { claimName: name } }],
  container: { volumeDevices: [{ name, devicePath: '/disk' }] },
});

const resize = (name: string, size: string): Promise<string> =>
  space.run([
    ...['patch', 'pvc', name, '--patch'],
    JSON.stringify({ spec: { resources: { requests: { storage: size } } } }),
  ]);

const mebibytes = async (name: string, path: string): Promise<number> =>
  Number(await space.shell(name, `busybox df -m ${path} | busybox awk 'NR == 2 {print $2}'`));

describe('storage classes', () => {
  it.concurrent('csi: a filesystem grows under a running pod; a snapshot and a clone of it go to another node', async ({
    expect,
  }) => {
    await space.apply(
      claim('data', { storageClassName: 'csi' }, '300Mi'),
      pod('writer', mounted('worker-1', 'data')),
    );
    await space.ready('writer');
    expect(await mebibytes('writer', '/data')).toBeLessThan(300);
    await space.shell('writer', 'echo before > /data/file; busybox sync');
    await space.apply({
      apiVersion: 'snapshot.storage.k8s.io/v1',
      kind: 'VolumeSnapshot',
      metadata: { name: 'cut' },
      spec: { volumeSnapshotClassName: 'csi', source: { persistentVolumeClaimName: 'data' } },
    });
    await space.run([
      'wait',
      '--for=jsonpath={.status.readyToUse}=true',
      'volumesnapshot/cut',
      '--timeout=60s',
    ]);
    await space.shell('writer', 'echo after > /data/file; busybox sync');

    await resize('data', '600Mi');
    const conditions = (): Promise<string> =>
      space.run(['get', 'pvc', 'data', '--output', 'jsonpath={.status.conditions[*].type}']);
    await expect.poll(conditions, { timeout: 60_000, interval: 300 }).toContain('FileSystemResizePending');
    // A kubelet looks at a pod's claims once in a minute or so, and when the pod is changed.
    await space.run(['annotate', 'pod', 'writer', 'grown=yes']);
    await expect
      .poll(() => mebibytes('writer', '/data'), { timeout: 60_000, interval: 300 })
      .toBeGreaterThan(500);

    const dataSource = { apiGroup: 'snapshot.storage.k8s.io', kind: 'VolumeSnapshot', name: 'cut' };
    await space.apply(
      claim('restored', { storageClassName: 'csi', dataSource }, '400Mi'),
      claim(
        'cloned',
        { storageClassName: 'csi', dataSource: { kind: 'PersistentVolumeClaim', name: 'data' } },
        '600Mi',
      ),
      pod('reader', mounted('worker-2', 'restored', 'cloned')),
    );
    await space.ready('reader');
    expect(await space.shell('reader', 'busybox cat /restored/file /cloned/file')).toBe('before\nafter\n');
    // It is larger than what it was restored from.
    expect(await mebibytes('reader', '/restored')).toBeGreaterThan(300);
    await space.shell('reader', 'echo own > /cloned/file; busybox sync');
    expect(await space.shell('writer', 'busybox cat /data/file')).toBe('after\n');
  });

  it.concurrent('csi: one volume is one node’s until that node lets go of it', async ({ expect }) => {
    await space.apply(
      claim('moves', { storageClassName: 'csi' }),
      pod('first', mounted('worker-1', 'moves')),
    );
    await space.ready('first');
    await space.shell('first', 'echo moved > /moves/file');
    await space.apply(pod('second', mounted('worker-2', 'moves')));
    await expect
      .poll(() => space.run(['describe', 'pod', 'second']), { timeout: 60_000 })
      .toContain('Multi-Attach error');
    await space.run(['delete', 'pod', 'first']);
    await space.ready('second', 90);
    expect(await space.shell('second', 'busybox cat /moves/file')).toBe('moved\n');
  });

  it.concurrent('csi: a block device on both nodes at once, which grows while they have it', async ({
    expect,
  }) => {
    const spec = { storageClassName: 'csi', volumeMode: 'Block', accessModes: ['ReadWriteMany'] };
    await space.apply(
      claim('disk', spec),
      pod('device-1', asDevice('worker-1', 'disk')),
      pod('device-2', asDevice('worker-2', 'disk')),
    );
    await Promise.all([space.ready('device-1'), space.ready('device-2')]);
    await space.shell('device-1', 'echo shared | busybox dd of=/disk bs=512 seek=7 conv=fsync 2> /dev/null');
    expect(
      await space.shell(
        'device-2',
        'busybox dd if=/disk bs=512 skip=7 count=1 2> /dev/null | busybox head -n 1',
      ),
    ).toBe('shared\n');
    await resize('disk', '24Mi');
    const bytes = (): Promise<string> => space.shell('device-2', 'busybox blockdev --getsize64 /disk');
    await expect.poll(bytes, { timeout: 60_000, interval: 300 }).toBe(`${24 << 20}\n`);
  });

  it.concurrent('shared: one folder on both nodes', async ({ expect }) => {
    const spec = { storageClassName: 'shared', accessModes: ['ReadWriteMany'] };
    await space.apply(
      claim('common', spec),
      pod('here', mounted('worker-1', 'common')),
      pod('there', mounted('worker-2', 'common')),
    );
    await Promise.all([space.ready('here'), space.ready('there')]);
    await space.shell('here', 'echo seen > /common/file');
    expect(await space.shell('there', 'busybox cat /common/file')).toBe('seen\n');
  });
});
