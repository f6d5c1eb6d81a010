import { afterAll, beforeAll, expect, it } from 'vitest';
import { KINDS } from '../../crds/kinds.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { crds, type ServerWithCrds, startServerWithCrds } from './support/crds.ts';
import { vms, vmWith } from './support/virtual-machines.ts';

let cluster: ServerWithCrds;
const kube = (...args: string[]) => kubectl(cluster.server.kubeconfigPath, args);

beforeAll(async () => {
  cluster = await startServerWithCrds();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

it('accepts every CRD, with no complaint about its schema or the cost of its rules', async () => {
  const list = await cluster.client.list(crds);
  expect(list.map((crd) => crd.metadata.name).sort()).toEqual(
    KINDS.map((kind) => `${kind.plural}.vmstead.io`).sort(),
  );
  for (const crd of list) {
    expect(
      (crd.status?.conditions ?? [])
        .filter((each) => each.status === 'True')
        .map((each) => each.type)
        .sort(),
    ).toEqual(['Established', 'NamesAccepted']);
    expect(
      (crd.status?.conditions ?? []).find((each) => each.type === 'NonStructuralSchema'),
    ).toBeUndefined();
  }
});

it('lists the kinds under their short names and the category', async () => {
  await cluster.client.create(vms, vmWith());
  for (const name of ['vm', 'vmst', 'virtualmachines.vmstead.io', 'vmstead']) {
    expect(await kube('get', name, '-o', 'name')).toContain('virtualmachine.vmstead.io/web');
  }
  expect(await kube('get', 'vmop')).toBe('');
});

it('shows the state in columns', async () => {
  await cluster.client.create(vms, vmWith({}, 'columns'));
  const status = {
    phase: 'Running',
    conditions: ['Ready', 'RestartRequired'].map((type) => ({
      type,
      status: 'True',
      reason: `${type}Reason`,
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    })),
    launcher: { node: 'worker-1' },
    interfaces: [{ name: 'default', mac: '02:00:00:00:00:01', ips: ['10.0.0.7', 'fd00::7'] }],
    resolved: { vcpus: 2, memory: '1Gi', acceleration: 'KVM' },
  };
  await cluster.client.patch(vms, vmWith({}, 'columns').metadata, { status }, { subresource: 'status' });
  const rows = async (...args: string[]) =>
    (await kube('get', 'vm', 'columns', ...args))
      .trim()
      .split('\n')
      .map((row) => row.split(/\s+/));
  expect(await rows()).toEqual([
    ['NAME', 'PHASE', 'READY', 'REASON', 'NODE', 'IP', 'AGE'],
    ['columns', 'Running', 'True', 'ReadyReason', 'worker-1', '10.0.0.7', expect.any(String)],
  ]);
  expect(await rows('-o', 'wide')).toEqual([
    ['NAME', 'PHASE', 'READY', 'REASON', 'NODE', 'IP', 'AGE', 'CPU', 'MEMORY', 'ACCELERATION', 'RESTART'],
    [
      'columns',
      'Running',
      'True',
      'ReadyReason',
      'worker-1',
      '10.0.0.7',
      expect.any(String),
      '2',
      '1Gi',
      'KVM',
      'True',
    ],
  ]);
});

it('writes nothing into a spec: what was applied is what is stored', async () => {
  const vm = vmWith({ networks: [{ name: 'default', pod: {} }], firmware: {} }, 'untouched');
  expect((await cluster.client.create(vms, vm)).spec).toEqual(vm.spec);
});

it('explains fields', async () => {
  expect(await kube('explain', 'vm.spec.disks.source')).toMatchInlineSnapshot(`
    "GROUP:      vmstead.io
    KIND:       VirtualMachine
    VERSION:    v1alpha1

    FIELD: source <Object>


    DESCRIPTION:
        Where the data are: exactly one member. A cdrom without it is an empty
        drive.
        
    FIELDS:
      blank	<Object>
        An empty disk in a claim that Vmstead makes once and never empties again.

      claim	<Object>
        A PersistentVolumeClaim of this namespace that is there already. A
        filesystem must hold the disk as disk.img (raw).

      configMap	<Object>
        The keys of a ConfigMap as files, as they are when the VM starts.

      containerImage	<Object>
        A disk in an OCI image, mounted as an image volume. What the guest writes
        goes to an overlay that is thrown away with the pod.

      downwardAPI	<Object>
        Fields of the VM's pod as files, as they are when the VM starts. The pod has
        the labels of the VM.

      ephemeral	<Object>
        A claim or an image that is only read. What the guest writes goes to an
        overlay that is thrown away with the pod.

      image	<Object>
        A VirtualMachineImage of this namespace. A disk begins as its copy, in a
        claim that Vmstead makes once; a cdrom is the image itself.

      secret	<Object>
        The keys of a Secret as files, as they are when the VM starts. The operator
        does not read it.

      sysprep	<Object>
        Answer files for Windows' Setup and Sysprep, on a CD-ROM with the label
        unattendCD.


    "
  `);
  expect(await kube('explain', 'vmop.spec.type')).toMatchInlineSnapshot(`
    "GROUP:      vmstead.io
    KIND:       VirtualMachineOperation
    VERSION:    v1alpha1

    FIELD: type <string>
    ENUM:
        Start
        Stop
        Restart
        Reset
        Pause
        Resume

    DESCRIPTION:
        Start, Stop (ACPI power-off, then by force), Restart (a new pod), Reset (the
        button), Pause or Resume.
        

    "
  `);
});
