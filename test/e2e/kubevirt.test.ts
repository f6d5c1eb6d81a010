/**
 * KubeVirt's kinds in the same cluster: stand-ins with its groups, names and short names (KubeVirt 1.9,
 * staging/src/kubevirt.io/client-go/apis/…/crd), as KubeVirt itself cannot be fetched here.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kubectlPath } from '../cluster/kubectl.ts';
import { kubectlVm } from '../cluster/kubectl-vm.ts';
import { Bed } from './support/bed.ts';
import { boots } from './support/guest.ts';
import { tinyVm } from './support/manifests.ts';

const GROUP = 'kubevirt.io';
const KINDS = [
  ['VirtualMachine', 'virtualmachines', ['vm', 'vms']],
  ['VirtualMachineInstance', 'virtualmachineinstances', ['vmi', 'vmis']],
  ['VirtualMachineInstanceMigration', 'virtualmachineinstancemigrations', ['vmim', 'vmims']],
] as const;

const definition = ([kind, plural, shortNames]: (typeof KINDS)[number]) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.${GROUP}` },
  spec: {
    group: GROUP,
    scope: 'Namespaced',
    names: { kind, plural, singular: kind.toLowerCase(), shortNames, categories: ['all'] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
        subresources: { status: {} },
      },
    ],
  },
});

const theirs = {
  apiVersion: `${GROUP}/v1`,
  kind: 'VirtualMachine',
  metadata: { name: 'web' },
  spec: { runStrategy: 'Always', template: { spec: { domain: { devices: {} } } } },
};

let bed: Bed;
const definitions = KINDS.map(([, plural]) => `customresourcedefinition/${plural}.${GROUP}`);

/** kubectl's two outputs. */
async function kubectl(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const options = ['--kubeconfig', bed.cluster.kubeconfigPath, '--namespace', bed.namespace];
  return await promisify(execFile)(kubectlPath(), [...options, ...args]);
}

beforeAll(async () => {
  bed = await Bed.open('kubevirt');
  await bed.apply(tinyVm('web'));
  await bed.apply(...KINDS.map(definition));
  await bed.kubectl('wait', '--for=condition=Established', ...definitions, '--timeout=120s');
  await bed.apply(theirs);
  await bed.untilUp('web');
});

afterAll(async () => {
  await bed.kubectl('delete', '--ignore-not-found', ...definitions);
  await bed.close();
});

test('each keeps to its own: a VM of ours runs beside one of theirs with its name', async () => {
  const [pod, ...others] = await bed.podsOf('web');
  expect(others).toEqual([]);
  expect(pod?.metadata.ownerReferences?.[0]?.apiVersion).toBe('vmstead.io/v1alpha1');
  const stored = JSON.parse(await bed.kubectl('get', 'virtualmachines.kubevirt.io', 'web', '-o', 'json'));
  expect([stored.spec, stored.status, stored.metadata.finalizers]).toEqual([
    theirs.spec,
    undefined,
    undefined,
  ]);
});

test('what `kubectl get` makes of the names, as docs/install.md says', async () => {
  const kindOf = async (resource: string) => {
    const { stdout, stderr } = await kubectl('get', resource, 'web', '--output', 'jsonpath={.apiVersion}');
    return [stdout, stderr.trim()];
  };
  expect(await kindOf('vmst')).toEqual(['vmstead.io/v1alpha1', '']);
  expect(await kindOf('virtualmachines.vmstead.io')).toEqual(['vmstead.io/v1alpha1', '']);
  expect(await kindOf('vm')).toEqual([
    'kubevirt.io/v1',
    'Warning: short name "vm" could also match lower priority resource virtualmachines.vmstead.io',
  ]);
  expect(await kindOf('virtualmachine')).toEqual(['kubevirt.io/v1', '']);
  expect(await kindOf('vmop').catch((error) => `${error}`)).toContain(
    'virtualmachineoperations.vmstead.io "web" not found',
  );
});

test('`kubectl vm` is always about ours', async () => {
  const run = (...args: string[]) => kubectlVm(bed.cluster.kubeconfigPath, ...args, '-n', bed.namespace);
  expect(await run('describe', 'web')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('Running, ready'),
  });
  expect(await run('pause', 'web')).toMatchObject({ code: 0 });
  await bed.untilCondition('web', 'Ready', 'True Paused');
  expect(await run('resume', 'web')).toMatchObject({ code: 0 });
});

test('theirs is deleted, and its kinds too: ours does not notice', async () => {
  await bed.kubectl('delete', 'virtualmachines.kubevirt.io', 'web');
  await bed.kubectl('delete', ...definitions);
  await bed.untilCondition('web', 'Ready', 'True Running');
  expect(boots(bed.log('web'))).toHaveLength(1);
});
