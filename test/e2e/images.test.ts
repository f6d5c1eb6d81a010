import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { API_VERSION, LABEL } from '../../crds/api.ts';
import { docker } from '../../images/docker.ts';
import { type StoredImage, virtualmachineimages } from '../../operator/image/resources.ts';
import { orNotFound } from '../../operator/kube/errors.ts';
import { leases, persistentvolumeclaims, pods } from '../../operator/kube/resources.ts';
import { Bed, brief } from './support/bed.ts';
import { boots, lastAcknowledged } from './support/guest.ts';
import { kstatusOf } from './support/kstatus.ts';
import { operation, sectorWriter, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';

/** Images from every source, VMs from them, and what happens to both when something ends in the middle. */
const run = promisify(execFile);
const DISK = 'vmstead/disk-tiny:dev';
const SERVER = 'vmstead.test/busybox:1';
const SLOW = { timeout: 150_000 };

let bed: Bed;
let folder: string;

beforeAll(async () => {
  bed = await Bed.open('images');
  await bed.cluster.loadImages([DISK]);
  folder = await mkdtemp(join(tmpdir(), 'vmstead-e2e-images-'));
});

afterAll(async () => {
  await bed.kubectl('delete', 'vmimg', '--all', '--wait=false');
  await bed.close();
  await rm(folder, { recursive: true, force: true });
});

const image = (name: string, source: object, claim: object = {}) => ({
  apiVersion: API_VERSION,
  kind: 'VirtualMachineImage',
  metadata: { name },
  // Without a size: the mover looks at the source first.
  spec: { source, claim },
});
const containerImage = { containerImage: { image: DISK, pullPolicy: 'IfNotPresent' } };

const get = (name: string): Promise<StoredImage> =>
  bed.client.get(virtualmachineimages, { namespace: bed.namespace, name });

async function untilImage(
  name: string,
  what: string,
  holds: (stored: StoredImage) => boolean | undefined,
): Promise<StoredImage> {
  return await poll(
    `image ${name}: ${what}`,
    async () => {
      const stored = await get(name);
      return holds(stored) ? stored : undefined;
    },
    {
      ...SLOW,
      describe: async () => {
        const logs = await bed.kubectl('logs', '-l', `${LABEL.image}=${name}`, '--tail=20').catch(String);
        const events = await bed.kubectl('get', 'events', '--sort-by=.lastTimestamp').catch(String);
        return `${JSON.stringify((await get(name)).status, null, 1)}\n${logs}\n${events.split('\n').slice(-15).join('\n')}`;
      },
    },
  );
}
const untilReady = (name: string) => untilImage(name, 'Ready', ({ status }) => status?.phase === 'Ready');

/** A VM that boots from its disk, made from an image. */
function bootingVm(name: string, from: string, clone: 'Linked' | 'Full', claim: object = { size: '256Mi' }) {
  const { kernel: _, ...spec } = tinyVm(name).spec;
  const disk = {
    name: 'root',
    bootOrder: 1,
    source: { image: { name: from, clone } },
    claim: { ...claim, reclaimPolicy: 'Delete' },
  };
  return { ...tinyVm(name), spec: { ...spec, disks: [disk] } };
}

const claimOf = (name: string) =>
  orNotFound(bed.client.get(persistentvolumeclaims, { namespace: bed.namespace, name }));

describe('an image over HTTP, and a linked VM', () => {
  test('is Ready with what it is; the VM boots from it, and goes on when the image is deleted', async () => {
    const security = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
    await bed.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'server' },
      spec: {
        terminationGracePeriodSeconds: 0,
        securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
        containers: [
          {
            name: 'main',
            image: SERVER,
            command: ['/bin/busybox', 'httpd', '-f', '-p', '8080', '-h', '/image'],
            volumeMounts: [{ name: 'disk', mountPath: '/image', readOnly: true }],
            securityContext: security,
          },
        ],
        volumes: [{ name: 'disk', image: { reference: DISK, pullPolicy: 'IfNotPresent' } }],
      },
    });
    const ip = await poll('the server to run', async () => {
      const { status } = await bed.client.get(pods, { namespace: bed.namespace, name: 'server' });
      return status?.phase === 'Running' ? status.podIP : undefined;
    });
    const url = `http://${ip}:8080/disk/disk.qcow2`;
    // An address in the cluster is refused unless it is meant.
    await bed.apply(image('refused', { http: { url } }));
    await bed.apply(image('web', { http: { url, allowPrivateAddresses: true } }));
    // A VM may be there before its image.
    await bed.apply(bootingVm('linked', 'web', 'Linked'));
    const refused = await untilImage('refused', 'Failed', ({ status }) => status?.phase === 'Failed');
    expect(refused.status?.conditions?.map(({ type, reason }) => `${type} ${reason}`)).toEqual([
      'Ready SourceForbidden',
      'Stalled SourceForbidden',
    ]);
    const ready = await untilReady('web');
    expect(ready.status).toMatchObject({ format: 'qcow2', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const kinds = { apiVersion: API_VERSION, kind: 'VirtualMachineImage' };
    const stored = [refused, ready].map((each) => ({ ...each, ...kinds }));
    expect(await kstatusOf(stored)).toEqual(['Failed', 'Current']);
    await bed.untilUp('linked', SLOW);
    const vm = await bed.until(
      'linked',
      'a base and a format',
      ({ status }) => status?.disks?.[0]?.base !== undefined && status.disks[0].format !== undefined,
    );
    expect(vm.status?.disks?.[0]).toMatchObject({ format: 'qcow2', base: { image: 'web', state: 'Linked' } });

    const claimName = ready.status?.claimName ?? '';
    await bed.kubectl('delete', 'vmimg', 'web');
    await bed.operate(operation('again', 'linked', 'Restart', { force: true }), SLOW);
    await bed.untilLog('linked', 'boots again', (log) => boots(log).length === 2, SLOW);
    expect(await claimOf(claimName)).toBeDefined();
    await bed.delete('linked');
    await bed.untilGone('linked');
    await poll(
      'the claim of the image to go with the last VM that needs it',
      async () => !(await claimOf(claimName)),
      SLOW,
    );
  }, 400_000);
});

describe('an image from an OCI image, and a full VM', () => {
  test('the VM becomes independent while it writes, and the image is not mounted any more', async () => {
    await bed.apply(
      image('oci', containerImage),
      tinyVm('full', {
        guest: sectorWriter('data'),
        disks: [
          {
            name: 'data',
            source: { image: { name: 'oci' } },
            claim: { reclaimPolicy: 'Retain' },
          },
        ],
      }),
    );
    await bed.untilLog('full', 'writes', (log) => lastAcknowledged(log) > 0, SLOW);
    const independent = await bed.until(
      'full',
      'independent',
      ({ status }) => status?.disks?.[0]?.base?.state === 'Independent',
      SLOW,
    );
    expect(independent.status?.restartRequired).toBeUndefined();
    await poll('the record of the image to go', async () => {
      const claim = await claimOf('full-data');
      return claim?.metadata.annotations?.['vmstead.io/base'] === undefined;
    });
    const { status } = await get('oci');
    const base = await claimOf(status?.claimName ?? '');
    expect(base?.metadata.ownerReferences?.map(({ kind }) => kind)).toEqual(['VirtualMachineImage']);
    await bed.operate(operation('full-again', 'full', 'Restart', { force: true }), SLOW);
    await bed.untilLog('full', 'boots again', (log) => boots(log).length === 2, SLOW);
    expect((await bed.pod('full')).spec?.volumes?.map(({ name }) => name)).not.toContain('base-data');
    await bed.delete('full');
    await bed.untilGone('full');
  }, 400_000);

  test('a status that was lost is written again, and the image is not brought in a second time', async () => {
    const before = await untilReady('oci');
    await bed.client.patch(
      virtualmachineimages,
      { namespace: bed.namespace, name: 'oci' },
      { status: null },
      { subresource: 'status' },
    );
    const after = await untilReady('oci');
    expect(after.status?.importedAt).toBe(before.status?.importedAt);
    expect(after.status?.attempts).toBe(0);
    const movers = await bed.client.list(pods, {
      namespace: bed.namespace,
      labelSelector: `${LABEL.image}=oci`,
    });
    expect(movers).toEqual([]);
    await bed.apply(image('copy', { claim: { name: before.status?.claimName } }));
    expect((await untilReady('copy')).status?.sha256).toBe(before.status?.sha256);
  });
});

describe('an image on storage that clones', () => {
  test('a VM boots from a clone of it, which needs it no more', async () => {
    const onCsi = { storageClassName: 'csi' };
    await bed.apply(image('cloned', containerImage, onCsi));
    await untilReady('cloned');
    await bed.apply(bootingVm('clone', 'cloned', 'Full', onCsi));
    await bed.untilUp('clone', SLOW);
    const base = { image: 'cloned', state: 'Independent', method: 'Clone' };
    const { status } = await bed.until(
      'clone',
      'a base',
      (vm) => vm.status?.disks?.[0]?.format !== undefined,
      SLOW,
    );
    expect(status?.disks?.[0]).toMatchObject({ format: 'qcow2', base });
    expect((await claimOf('clone-root'))?.spec?.dataSource).toMatchObject({ kind: 'PersistentVolumeClaim' });
    const { claimName = '' } = (await get('cloned')).status ?? {};
    await poll('the image to be let go of', async () => {
      const owners = (await claimOf(claimName))?.metadata.ownerReferences;
      return owners?.length === 1 && owners[0]?.kind === 'VirtualMachineImage';
    });
    expect((await bed.pod('clone')).spec?.volumes?.map(({ name }) => name)).not.toContain('base-root');
    await bed.delete('clone');
    await bed.untilGone('clone');
  }, 400_000);
});

describe('an uploaded image', () => {
  test('is sent by port-forward, also when the mover was killed before', async () => {
    const file = join(folder, 'disk.qcow2');
    const container = (await docker(['create', DISK, 'none'])).trim();
    await docker(['cp', `${container}:/disk/disk.qcow2`, file]);
    await docker(['rm', container]);
    await bed.apply(image('sent', { upload: {} }, { size: '128Mi' }));
    const waiting = await untilImage(
      'sent',
      'waits for the file',
      (stored) => stored.status?.conditions?.[0]?.reason === 'WaitingForUpload',
    );
    const kinds = { apiVersion: API_VERSION, kind: 'VirtualMachineImage' };
    expect(await kstatusOf([{ ...waiting, ...kinds }])).toEqual(['InProgress']);
    await bed.kubectl('delete', 'pod', waiting.status?.podName ?? '', '--wait=false', '--force');
    await untilImage('sent', 'another mover', ({ status }) => (status?.attempts ?? 0) > 1);
    const { stdout } = await run(
      join(import.meta.dirname, '../../cli/bin/kubectl-vm'),
      ['image', 'upload', 'sent', file, '-n', bed.namespace, '--kubeconfig', bed.cluster.kubeconfigPath],
      { timeout: 150_000 },
    );
    expect(stdout).toMatch(/VirtualMachineImage sent is ready: qcow2, .*, sha256 [0-9a-f]{64}/);
    expect((await get('sent')).status?.sha256).toBe((await get('oci')).status?.sha256);
    await poll('nothing to hold its claim', async () => {
      const held = await bed.client.list(leases, { namespace: bed.namespace, labelSelector: LABEL.image });
      return held.length === 0;
    });
  }, 400_000);

  test('that is no disk is refused with the reason', async () => {
    const file = join(folder, 'text.img');
    await writeFile(file, Buffer.from('QFI\xfb not a qcow2 at all', 'latin1'));
    const refused = await run(
      join(import.meta.dirname, '../../cli/bin/kubectl-vm'),
      ['image', 'upload', 'wrong', file, '-n', bed.namespace, '--kubeconfig', bed.cluster.kubeconfigPath],
      { timeout: 150_000 },
    ).catch((error: { stderr: string }) => error.stderr);
    expect(refused).toContain('the image was not made: ImageUnusable');
    await untilImage('wrong', 'Failed', ({ status }) => status?.phase === 'Failed');
    await bed.apply(bootingVm('never', 'wrong', 'Full'));
    const vm = await bed.untilCondition('never', 'Ready', 'False ImageNotReady');
    expect(brief(vm, 'DisksReady')).toBe('False ImageNotReady');
    await bed.delete('never');
  }, 400_000);
});
