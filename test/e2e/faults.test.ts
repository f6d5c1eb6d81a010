import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { leases } from '../../operator/kube/resources.ts';
import { releaseNamespace } from '../../setup/deploy.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { Bed, brief, condition } from './support/bed.ts';
import { boots, lastAcknowledged, lastHeartbeat } from './support/guest.ts';
import { killLauncher } from './support/kill.ts';
import { blankDisk, operation, sectorWriter, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';

/** Two VMs, one on each node, that write all the time; the parts around them die. At the end their disks are judged. */
let bed: Bed;
const vms = ['one', 'two'];
const nodeOf = { one: 'worker-1', two: 'worker-2' } as Record<string, string>;

const system = (...args: string[]) =>
  kubectl(bed.cluster.kubeconfigPath, ['--namespace', releaseNamespace, ...args]);

/** Boots that each VM's guests went through so far. */
const bootsOf = (name: string) => boots(bed.log(name)).length;

/** The guest goes on: it beats and writes, also after now. */
async function goesOn(name: string): Promise<void> {
  const [beats, acknowledged] = [lastHeartbeat(bed.log(name)), lastAcknowledged(bed.log(name))];
  await bed.untilLog(
    name,
    'beats and writes on',
    (log) => lastHeartbeat(log) > beats && lastAcknowledged(log) > acknowledged,
  );
}

beforeAll(async () => {
  bed = await Bed.open('faults');
  await bed.apply(
    ...vms.map((name) =>
      tinyVm(name, {
        disks: [blankDisk('data')],
        guest: sectorWriter('data'),
        acceleration: 'Emulation',
        pod: { nodeSelector: { 'kubernetes.io/hostname': nodeOf[name] ?? '' } },
      }),
    ),
  );
  await Promise.all(vms.map((name) => bed.untilUp(name, { timeout: 150_000 })));
});

afterAll(() => bed.close());

describe('what its VMs do not notice', () => {
  let before: number[] = [];
  const undisturbed = async (): Promise<void> => {
    await Promise.all(vms.map(goesOn));
    expect(vms.map(bootsOf)).toEqual(before);
    for (const name of vms) {
      const { status } = await bed.untilCondition(name, 'Ready', 'True Running');
      expect([status?.launcher?.incarnation, status?.lastRun]).toEqual([1, undefined]);
    }
  };

  beforeAll(() => {
    before = vms.map(bootsOf);
    expect(before).toEqual([1, 1]);
  });

  test('a launcher is killed: another one takes QEMU over, and does what it is told', async () => {
    await killLauncher(bed, 'one');
    await goesOn('one');
    const pause = await bed.operate(operation('pause', 'one', 'Pause'));
    expect(pause.status?.phase).toBe('Succeeded');
    expect((await bed.operate(operation('resume', 'one', 'Resume'))).status?.phase).toBe('Succeeded');
    await undisturbed();
  });

  test('the leading operator is killed: the other one leads on', async () => {
    const lease = await bed.client.get(leases, { namespace: releaseNamespace, name: 'vmstead-operator' });
    const leader = lease.spec?.holderIdentity?.split('_')[0] ?? '';
    await system('delete', 'pod', leader, '--force', '--grace-period=0', '--wait=false');
    const resume = await bed.operate(operation('after-leader', 'two', 'Resume'), { timeout: 90_000 });
    expect(resume.status?.phase).toBe('Succeeded');
    await undisturbed();
  });

  test('no operator is left for a while: what was asked for meanwhile is done afterwards', async () => {
    await system('scale', 'deployment/vmstead-operator', '--replicas=0');
    await system(
      'wait',
      '--for=delete',
      'pod',
      '-l',
      'app.kubernetes.io/component=operator',
      '--timeout=120s',
    );
    await bed.apply(operation('meanwhile', 'one', 'Resume'));
    await Promise.all(vms.map(goesOn));
    expect((await bed.operationOf('meanwhile')).status).toBeUndefined();
    expect(brief(await bed.vm('one'))).toBe('True Running');
    await system('scale', 'deployment/vmstead-operator', '--replicas=2');
    await poll(
      'the operation to be done',
      async () => (await bed.operationOf('meanwhile')).status?.phase === 'Succeeded',
      {
        timeout: 90_000,
      },
    );
    await undisturbed();
  });

  test('the API server is away for 30 s', async () => {
    await bed.cluster.controlPlane!.service('kube-apiserver', 'stop');
    await sleep(30_000);
    await bed.cluster.controlPlane!.service('kube-apiserver', 'start');
    await poll('the API server to answer', async () => (await bed.vm('one')) !== undefined);
    const resume = await bed.operate(operation('after-outage', 'one', 'Resume'), { timeout: 120_000 });
    expect(resume.status?.phase).toBe('Succeeded');
    await undisturbed();
  });

  test('containerd is killed', async () => {
    for (const node of bed.cluster.nodes) await node.service('containerd', 'kill');
    await undisturbed();
  });
});

describe('a node that is silent', () => {
  test('makes Running and Ready Unknown, with what to do, and the VM is not started elsewhere', {
    timeout: 330_000,
  }, async () => {
    const node = bed.cluster.node('worker-2');
    const before = bootsOf('two');
    await node.pause();
    try {
      const vm = await bed.untilCondition('two', 'Ready', 'Unknown NodeSilent', { timeout: 120_000 });
      expect([brief(vm, 'Running'), vm.status?.phase]).toEqual(['Unknown NodeSilent', 'Unknown']);
      expect(condition(vm, 'Ready')?.message).toMatch(
        /^Node worker-2 has been silent since \S+: nobody can tell whether the VM runs, and it is not started elsewhere\. If you are certain that the node is off: kubectl taint nodes worker-2 node\.kubernetes\.io\/out-of-service=nodeshutdown:NoExecute$/,
      );
      // Nor when Kubernetes itself gives the node up, which is later.
      const ready = '-o=jsonpath={.status.conditions[?(@.type=="Ready")].status}';
      await poll(
        'Kubernetes to give the node up',
        async () => (await bed.kubectl('get', 'node', 'worker-2', ready)) === 'Unknown',
        // Its own controllers have just lost their API server for a while, and may be slow to look again.
        { timeout: 150_000 },
      );
      await sleep(5000);
      expect(brief(await bed.vm('two'))).toBe('Unknown NodeSilent');
      expect(await bed.podsOf('two')).toHaveLength(1);
    } finally {
      await node.unpause();
    }
    await bed.untilCondition('two', 'Ready', 'True Running');
    await goesOn('two');
    expect(bootsOf('two')).toBe(before);
  });
});

describe('a node that loses its power', () => {
  test('starts its VMs again when it is back, and says why', async () => {
    const node = bed.cluster.node('worker-1');
    await node.stop();
    await node.start();
    const vm = await bed.until(
      'one',
      'its second run',
      (each) => each.status?.launcher?.incarnation === 2 && brief(each) === 'True Running',
      { timeout: 150_000 },
    );
    expect(vm.status?.lastRun?.result).toBe('NodeRestarted');
    expect(vm.status?.crashLoop).toBeUndefined();
    await bed.untilLog('one', 'writes again', (log) => boots(log).length >= 2 && lastAcknowledged(log) > 0);
  });
});

test('and nothing that a guest wrote was lost, nor written by two', async () => {
  for (const name of vms) await bed.patch(name, { runStrategy: 'Halted' });
  for (const name of vms) await bed.untilCondition(name, 'Ready', 'True Halted');
  for (const name of vms) expect(await bed.judge(name, `${name}-data`)).toEqual([]);
  bed.writers.check();
});
