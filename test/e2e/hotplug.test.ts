/** Disks that come and go while their VM runs: a person edits spec.disks, and the guest goes on in the same pod. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { API_VERSION } from '../../crds/api.ts';
import { leases } from '../../operator/kube/resources.ts';
import { Bed, brief, condition } from './support/bed.ts';
import { fillClaim } from './support/fill-claim.ts';
import { boots, lastAcknowledged } from './support/guest.ts';
import { blankDisk, claimDisk, operation, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';
import { worldOf } from './support/world.ts';

const SLOW = { timeout: 150_000 };
const VM = 'plug';

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.open('hotplug');
});
afterAll(() => bed.close());

const edit = (...disks: object[]) => bed.apply(tinyVm(VM, { disks: disks as never }));

const untilState = (disk: string, state: string) =>
  bed.until(
    VM,
    `disk ${disk} ${state}`,
    ({ status }) => status?.disks?.find(({ name }) => name === disk)?.attachment?.state === state,
    SLOW,
  );

const untilDetached = () =>
  poll(
    'nothing to be attached any more',
    async () =>
      (await bed.attachments()).length === 0 && brief(await bed.vm(VM), 'DisksAttached') === 'absent',
    { describe: () => worldOf(bed, VM), ...SLOW },
  );

/** The guest's answer to a question, asked at its console. */
async function ask(mark: string, command: string): Promise<string> {
  const answer = new RegExp(`^${mark}=(\\S+)\\s*$`, 'm');
  await bed.typeInto(VM, `echo ${mark}=$(${command})`);
  await bed.untilLog(VM, mark, (log) => answer.test(log), SLOW);
  return answer.exec(bed.log(VM))?.[1] ?? '';
}

async function goesOn(): Promise<void> {
  const before = lastAcknowledged(bed.log(VM));
  await bed.untilLog(VM, 'writes', (log) => lastAcknowledged(log) > before, SLOW);
}

const digest = 'until [ -b /dev/vda ]; do sleep 0.1; done; head -c 4194304 /dev/vda | md5sum | cut -c 1-32';

test('a blank disk comes, outlives its pod in the middle of writing, goes, and comes back as it was', async () => {
  await bed.kubectl('apply', '--dry-run=server', '--filename', 'examples/hotplug.yaml');
  await edit();
  const up = await bed.untilUp(VM, SLOW);
  const pod = up.status?.launcher?.podUID;
  const data = blankDisk('data', '64Mi', 'Retain');
  const edited = performance.now();
  await edit(data);
  const plugged = await untilState('data', 'Hotplugged');
  console.log(`plugged after ${Math.round(performance.now() - edited)} ms`);
  expect(plugged.status).not.toHaveProperty('restartRequired');
  expect(brief(plugged)).toBe('True Running');
  expect(plugged.status?.disks).toMatchObject([
    {
      ...{ name: 'data', claimName: 'plug-data', format: 'raw' },
      attachment: { state: 'Hotplugged', podName: 'vm-plug-1.data.1' },
    },
  ]);
  await bed.typeInto(VM, 'sectors serial:data &');
  await goesOn();

  // The daemon is killed: it is there again in the same pod.
  const kill = 'kill -9 $(cat /run/vmstead/exporter.pid)';
  await bed.kubectl('exec', 'vm-plug-1.data.1', '--', 'sh', '-c', kill);
  await goesOn();
  // The pod is taken away: another one holds the claim's lease, and the guest goes on through it.
  await bed.kubectl('delete', 'pod', 'vm-plug-1.data.1', '--force', '--grace-period=0', '--wait=false');
  await bed.until(
    VM,
    'goes on through another pod',
    ({ status }) => {
      const { state, podName } = status?.disks?.[0]?.attachment ?? {};
      return state === 'Hotplugged' && podName === 'vm-plug-1.data.2';
    },
    SLOW,
  );
  await goesOn();
  const holders = (await bed.client.list(leases, { namespace: bed.namespace })).map(
    ({ spec }) => spec?.holderIdentity,
  );
  expect(holders).toEqual(['vm-plug-1.data.2']);

  await bed.typeInto(VM, 'killall sectors; sync');
  const before = await ask('BEFORE', digest);
  await edit();
  await untilDetached();
  expect(await bed.client.list(leases, { namespace: bed.namespace })).toEqual([]);
  await bed.until(VM, 'has no disk', ({ status }) => (status?.disks ?? []).length === 0, SLOW);
  expect(await ask('GONE', 'ls /dev/vda > /dev/null 2>&1; echo $?')).toBe('1');
  expect(await bed.judge(VM, 'plug-data')).toEqual([]);

  await edit(data);
  await untilState('data', 'Hotplugged');
  expect(await ask('AFTER', digest)).toBe(before);
  const { status } = await bed.vm(VM);
  expect(status?.launcher?.podUID).toBe(pod);
  expect(boots(bed.log(VM))).toHaveLength(1);
}, 600_000);

test('a claim that another VM has is waited for, and a snapshot says why it cannot be taken', async () => {
  // Both nodes can mount it: nothing but the lease keeps the two apart.
  await fillClaim(bed, 'shared', 16, { storageClassName: 'shared', accessModes: ['ReadWriteMany'] });
  await bed.apply(tinyVm('other', { disks: [claimDisk('shared', 'shared')] }));
  await bed.untilUp('other', SLOW);
  await edit(blankDisk('data', '64Mi', 'Retain'), claimDisk('shared', 'shared'));
  const waits = await bed.until(
    VM,
    'waits for the claim',
    (vm) => condition(vm, 'DisksAttached')?.message?.includes('VirtualMachine other') === true,
    SLOW,
  );
  expect(brief(waits, 'DisksAttached')).toBe('False Attaching');
  expect(condition(waits, 'DisksAttached')?.message).toMatch(
    /^Disk shared is being attached: PersistentVolumeClaim shared is used by VirtualMachine other \(pod vm-other-1\); stop that VM/,
  );
  expect(brief(waits)).toBe('True Running');
  await bed.apply({
    apiVersion: API_VERSION,
    kind: 'VirtualMachineSnapshot',
    metadata: { name: 'early' },
    spec: { virtualMachine: VM },
  });
  await poll('the snapshot to be refused', async () => {
    const told = await bed.kubectl('get', 'vmsnap', 'early', '-o', 'jsonpath={.status}');
    return told.includes('Disk data came while the VM runs');
  });
  await bed.kubectl('delete', 'vmsnap', 'early');
  await bed.delete('other');
  await untilState('shared', 'Hotplugged');
}, 600_000);

test('at the next start the launcher pod has the disks itself', async () => {
  await bed.operate(operation('settle', VM, 'Restart'), SLOW);
  const vm = await bed.until(
    VM,
    'is up again',
    ({ status }) =>
      status?.launcher?.incarnation === 2 && status.disks?.every((disk) => disk.format === 'raw'),
    SLOW,
  );
  await untilDetached();
  expect(vm.status?.disks?.map(({ name, attachment: { state } = {} }) => [name, state])).toEqual([
    ['data', 'InPod'],
    ['shared', 'InPod'],
  ]);
  expect(vm.status).not.toHaveProperty('restartRequired');
  await bed.untilUp(VM, SLOW);
}, 600_000);
