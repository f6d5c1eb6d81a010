/** `helm uninstall` under a running VM, and the way back. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { leases, persistentvolumeclaims } from '../../operator/kube/resources.ts';
import { virtualmachines } from '../../operator/virtual-machine/resources.ts';
import { helmPath, releaseNamespace } from '../../setup/deploy.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { Bed, brief } from './support/bed.ts';
import { boots, downs } from './support/guest.ts';
import { blankDisk, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';
import { installRelease } from './support/release.ts';

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.open('uninstall');
  await bed.apply(tinyVm('web', { disks: [blankDisk('data')] }));
  await bed.untilUp('web');
});
afterAll(async () => {
  await installRelease();
  await bed.close();
});

/** What is left of the release in the whole cluster, the definitions of its kinds apart. */
async function remains(): Promise<string[]> {
  const kinds = [
    ...['namespace', 'deployment', 'daemonset', 'job', 'service', 'poddisruptionbudget', 'serviceaccount'],
    ...['role', 'rolebinding', 'clusterrole', 'clusterrolebinding'],
    ...['validatingadmissionpolicy', 'validatingadmissionpolicybinding'],
  ];
  const get = (...args: string[]) =>
    kubectl(bed.cluster.kubeconfigPath, ['get', ...args, '--output', 'name', '--ignore-not-found']);
  const released = await get(
    kinds.join(),
    '--all-namespaces',
    '--selector',
    'app.kubernetes.io/instance=vmstead',
  );
  const own = await get('secret,lease,endpointslice,pod', '--namespace', releaseNamespace);
  return `${released}${own}`.split('\n').filter((line) => line !== '');
}

test('a VM is shut down cleanly, its pod goes, and nothing of the release is left', async () => {
  const claim = { namespace: bed.namespace, name: 'web-data' };
  const { uid } = (await bed.client.get(persistentvolumeclaims, claim)).metadata;
  await promisify(execFile)(helmPath(), [
    ...['uninstall', 'vmstead', '--namespace', releaseNamespace, '--wait', '--timeout', '120s'],
    ...['--kubeconfig', bed.cluster.kubeconfigPath],
  ]);
  expect(await bed.podsOf('web')).toEqual([]);
  await bed.untilLog('web', 'says why it ended', (log) => downs(log).join() === 'power-button');
  expect(await bed.client.list(leases, { namespace: bed.namespace })).toEqual([]);
  await poll('the release to be gone', async () => (await remains()).length === 0, {
    describe: async () => (await remains()).join(' '),
  });

  // The VM and its disk are the person's: they stay, and installed again Vmstead takes up where it was.
  expect((await bed.client.get(persistentvolumeclaims, claim)).metadata.uid).toBe(uid);
  await installRelease(undefined, [`watchNamespace=${bed.namespace}`]);
  await bed.until('web', 'runs again', (vm) => brief(vm) === 'True Running');
  await poll('the second boot', () => boots(bed.logs.of('web')).length === 2);
  expect((await bed.client.get(persistentvolumeclaims, claim)).metadata.uid).toBe(uid);
}, 300_000);

test('installed for one namespace, it looks after that one and may do nothing in another', async () => {
  const elsewhere = 'e2e-not-watched';
  const all = (...args: string[]) => kubectl(bed.cluster.kubeconfigPath, args);
  await all('delete', 'namespace', elsewhere, '--ignore-not-found');
  await all('create', 'namespace', elsewhere);
  try {
    await kubectl(
      bed.cluster.kubeconfigPath,
      ['apply', '--namespace', elsewhere, '--filename', '-'],
      JSON.stringify(tinyVm('ignored')),
    );
    await bed.apply(tinyVm('seen', { runStrategy: 'Halted' }));
    await bed.untilCondition('seen', 'Ready', 'True Halted');
    const ignored = await bed.client.get(virtualmachines, { namespace: elsewhere, name: 'ignored' });
    expect(ignored.status).toBeUndefined();
    const operator = `--as=system:serviceaccount:${releaseNamespace}:vmstead-operator`;
    const may = (verb: string, resource: string, namespace: string) =>
      all('auth', 'can-i', verb, resource, operator, '--namespace', namespace).catch(String);
    expect(await may('create', 'pods', bed.namespace)).toBe('yes\n');
    for (const resource of ['pods', 'persistentvolumeclaims', 'leases.coordination.k8s.io']) {
      expect(await may('create', resource, elsewhere)).toContain('auth can-i');
    }
    expect(await may('get', 'leases.coordination.k8s.io', 'kube-node-lease')).toBe('yes\n');
  } finally {
    await all('delete', 'virtualmachines.vmstead.io', '--all', '--namespace', elsewhere);
    await all('delete', 'namespace', elsewhere, '--wait=false');
  }
});
