/** An operator whose node has the wrong time: what it does is what an operator with the right one does. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LABEL, MANAGED_BY } from '../../crds/api.ts';
import { persistentvolumeclaims, pods } from '../../operator/kube/resources.ts';
import { releaseNamespace } from '../../setup/deploy.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { Bed, condition } from '../e2e/support/bed.ts';
import { fillClaim } from '../e2e/support/fill-claim.ts';
import { claimDisk, operation, tinyVm } from '../e2e/support/manifests.ts';
import { leader, nextLeader } from '../e2e/support/operator.ts';
import { poll } from '../e2e/support/poll.ts';

const DEPLOYMENT = 'deployment/vmstead-operator';

let bed: Bed;
const system = (...args: string[]) =>
  kubectl(bed.cluster.kubeconfigPath, ['--namespace', releaseNamespace, ...args]);

/** Gives all replicas another time of day, by so many minutes; their monotonic clocks stay as they are. */
async function setClock(minutes: number): Promise<void> {
  const code = `const R=Date,by=${minutes * 60_000};globalThis.Date=class extends R{constructor(...a){if(a.length)super(...a);else super(R.now()+by)}static now(){return R.now()+by}}`;
  const value = minutes === 0 ? '-' : `=--import=data:text/javascript,${encodeURIComponent(code)}`;
  await system('set', 'env', DEPLOYMENT, `NODE_OPTIONS${value}`);
  await system('rollout', 'status', DEPLOYMENT, '--timeout=120s');
}

const seconds = (from: string | undefined, to: string | undefined): number =>
  (Date.parse(to ?? '') - Date.parse(from ?? '')) / 1000;

beforeAll(async () => {
  bed = await Bed.open('clock');
});

afterAll(async () => {
  await setClock(0);
  await bed.close();
});

describe.each([10, -10])('an operator whose clock is %i minutes off', (minutes) => {
  const named = (name: string) => `${name}-${minutes > 0 ? 'fast' : 'slow'}`;

  beforeAll(async () => {
    await setClock(minutes);
    // Else nothing is tested here; and for a moment the leader may still be one of the replicas before.
    await poll('a leader with that clock', async () => {
      const pod = await leader(bed);
      const [first] = pod === '' ? [] : (await system('logs', pod).catch(() => '')).split('\n');
      if (!first) return false;
      return Math.abs((Date.parse(JSON.parse(first).time) - Date.now()) / 60_000 - minutes) < 2;
    });
  });

  test('backs off as long as it should, and says times that are right', async () => {
    const name = named('crashing');
    await bed.apply(tinyVm(name, { guest: 'vmstead.panic=0.1' }));
    const vm = await bed.until(
      name,
      'a second failure',
      ({ status }) => status?.lastRun?.incarnation === 2 && status.phase === 'CrashLoopBackOff',
    );
    const { lastRun, crashLoop } = vm.status ?? {};
    expect(crashLoop?.failures).toBe(2);
    expect(seconds(lastRun?.finishedAt, crashLoop?.retryAt)).toBe(10);
    expect(Math.abs(Date.parse(condition(vm, 'Ready')?.lastTransitionTime ?? '') - Date.now())).toBeLessThan(
      15_000,
    );
    const third = await poll('a third run', async () => {
      const list = await bed.client.list(pods, {
        namespace: bed.namespace,
        labelSelector: `${LABEL.vm}=${name},${LABEL.incarnation}=3`,
      });
      return list[0];
    });
    const waited = seconds(lastRun?.finishedAt, third.metadata.creationTimestamp);
    expect(waited).toBeGreaterThanOrEqual(9);
    expect(waited).toBeLessThan(25);
    await bed.delete(name);
  });

  test('forgets an operation when its time is over', async () => {
    const name = named('timed');
    await bed.apply(tinyVm(name, { runStrategy: 'Halted' }));
    const done = await bed.operate(operation(name, name, 'Stop', { ttlSecondsAfterFinished: 8 }));
    expect(Math.abs(Date.parse(done.status?.completedAt ?? '') - Date.now())).toBeLessThan(5000);
    await sleep(4000);
    await bed.operationOf(name);
    await poll('the operation to be gone', async () =>
      bed.operationOf(name).then(
        () => false,
        () => true,
      ),
    );
    await bed.delete(name);
  });

  test('leaves a claim that was taken a moment ago to its taker for a minute, and no longer than two', async () => {
    const [claim, name] = [named('taken'), named('patient')];
    await fillClaim(bed, claim, 8);
    const { uid } = (await bed.client.get(persistentvolumeclaims, { namespace: bed.namespace, name: claim }))
      .metadata;
    const taken = Date.now();
    // As by an operator that died before it made the pod.
    await bed.apply({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: `vmstead-claim-${uid}`,
        labels: { [LABEL.managedBy]: MANAGED_BY, [LABEL.vm]: 'ghost' },
      },
      spec: {
        holderIdentity: 'vm-ghost-1',
        acquireTime: new Date(taken).toISOString().replace('Z', '000Z'),
      },
    });
    await bed.apply(tinyVm(name, { disks: [claimDisk('data', claim)] }));
    await bed.untilCondition(name, 'Ready', 'False ClaimInUse');
    await bed.untilCondition(name, 'Running', 'True Running', { timeout: 150_000 });
    const pod = await bed.pod(name);
    const after = (Date.parse(pod.metadata.creationTimestamp ?? '') - taken) / 1000;
    expect(after).toBeGreaterThanOrEqual(59);
    expect(after).toBeLessThan(130);
    await bed.delete(name);
  });

  test('is followed by another leader when it dies, and calls a silent node silent after 40 s', async () => {
    const name = named('silent');
    await bed.apply(tinyVm(name, { pod: { nodeSelector: { 'kubernetes.io/hostname': 'worker-2' } } }));
    await bed.untilUp(name, { timeout: 120_000 });
    const former = await leader(bed);
    await system('delete', 'pod', former, '--force', '--grace-period=0', '--wait=false');
    await nextLeader(bed, former);
    expect((await bed.operate(operation(name, name, 'Resume'), { timeout: 60_000 })).status?.phase).toBe(
      'Succeeded',
    );
    await bed.untilCondition(name, 'Ready', 'True Running');

    const node = bed.cluster.node('worker-2');
    const frozen = Date.now();
    await node.pause();
    try {
      await bed.untilCondition(name, 'Ready', 'Unknown NodeSilent', { timeout: 90_000 });
      expect((Date.now() - frozen) / 1000).toBeGreaterThan(15);
      expect((Date.now() - frozen) / 1000).toBeLessThan(50);
    } finally {
      await node.unpause();
    }
    await bed.untilCondition(name, 'Ready', 'True Running', { timeout: 90_000 });
    await bed.delete(name);
  });
});
