import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { virtualmachines } from '../../operator/virtual-machine/resources.ts';
import { Bed, brief, condition } from './support/bed.ts';
import { ringOf } from './support/disk.ts';
import { fillClaim } from './support/fill-claim.ts';
import { boots, lastAcknowledged } from './support/guest.ts';
import { blankDisk, claim, claimDisk, podNetwork, sectorWriter, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';
import { writersOn } from './support/writers.ts';

/** Who may write to a disk, and when: hazards of a VM that runs twice. The writer watch of the bed looks on. */
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open('ownership');
});

afterAll(() => bed.close());

describe('two VMs that name one claim', () => {
  const [a, b] = ['first', 'second'].map((name) =>
    tinyVm(name, { disks: [claimDisk('data', 'shared')], guest: sectorWriter('data') }),
  ) as [ReturnType<typeof tinyVm>, ReturnType<typeof tinyVm>];
  let winner = '';
  let loser = '';

  test('created in the same second: exactly one runs, the other one says who has it', async () => {
    await fillClaim(bed, 'shared', 32);
    await Promise.all([bed.apply(a), bed.apply(b)]);
    await poll('one of the two to run', async () => {
      const states = await Promise.all(['first', 'second'].map(async (name) => brief(await bed.vm(name))));
      winner = ['first', 'second'].find((_, i) => states[i] === 'True Running') ?? '';
      return winner !== '';
    });
    loser = winner === 'first' ? 'second' : 'first';
    const vm = await bed.untilCondition(loser, 'Ready', 'False ClaimInUse');
    expect(condition(vm, 'Ready')?.message).toBe(
      `PersistentVolumeClaim shared of disk data is used by VirtualMachine ${winner} (pod vm-${winner}-1); stop that VM, or give this one another claim.`,
    );
    expect([brief(vm, 'DisksReady'), vm.status?.phase]).toEqual(['False ClaimInUse', 'Pending']);
    expect(await bed.podsOf(loser)).toEqual([]);
  });

  test('the other one starts by itself when the first one is gone, and finds what it wrote', async () => {
    await bed.untilLog(winner, 'writes', (log) => lastAcknowledged(log) > 0);
    await bed.delete(winner);
    await bed.untilUp(loser, { timeout: 120_000 });
    await bed.untilLog(loser, 'writes', (log) => lastAcknowledged(log) > 0);
    await bed.delete(loser);
    await bed.untilGone(loser);
    expect(await bed.judge(loser, 'shared')).toEqual([]);
    const ring = await ringOf(bed.cluster, bed.client, bed.namespace, 'shared');
    expect(new Set(ring.records.map(({ bootId }) => bootId))).toEqual(
      new Set([winner, loser].map((name) => boots(bed.log(name))[0]?.bootId)),
    );
  });
});

describe('a pod deleted by force while its node cannot be asked', () => {
  const name = 'forced';

  test('stands in the way of another one until the kubelet has spoken', async () => {
    await bed.apply(tinyVm(name, { disks: [blankDisk('data')], guest: sectorWriter('data') }));
    const { status } = await bed.untilUp(name, { timeout: 120_000 });
    const node = bed.cluster.node(status?.launcher?.node ?? '');
    const pod = await bed.pod(name);
    await node.service('kubelet', 'stop');
    try {
      // As PodGC does it: the phase is set, nobody has asked a kubelet.
      await bed.kubectl(
        ...['patch', 'pod', pod.metadata.name, '--subresource=status', '--type=merge'],
        ...['-p', '{"status":{"phase":"Failed","reason":"PodGC"}}'],
      );
      await bed.kubectl('delete', 'pod', pod.metadata.name, '--force', '--grace-period=0', '--wait=false');
      await sleep(8000);
      const [only, ...others] = await bed.podsOf(name);
      expect(others).toEqual([]);
      expect(only?.metadata.uid).toBe(pod.metadata.uid);
      expect(only?.metadata.deletionTimestamp).toBeDefined();
      const writers = await writersOn(node);
      expect(writers.some(({ path }) => path.includes('/data/'))).toBe(true);
      await bed.untilCondition(name, 'Ready', 'False Stopping');
    } finally {
      await node.service('kubelet', 'start');
    }
  });

  test('and then the VM runs again, with its disk as it was', async () => {
    await bed.until(
      name,
      'a second run',
      (vm) => vm.status?.launcher?.incarnation === 2 && brief(vm) === 'True Running',
      {
        timeout: 120_000,
      },
    );
    await bed.untilLog(name, 'writes again', (log) => boots(log).length === 2 && lastAcknowledged(log) > 0);
    await bed.patch(name, { runStrategy: 'Halted' });
    await bed.untilCondition(name, 'Ready', 'True Halted');
    expect(await bed.judge(name, `${name}-data`)).toEqual([]);
    await bed.delete(name);
  });
});

describe('a claim', () => {
  test('that was not made for this disk is refused, and left alone', async () => {
    await bed.apply(claim('taken-data'), tinyVm('taken', { disks: [blankDisk('data')] }));
    const vm = await bed.untilCondition('taken', 'Ready', 'False ClaimNotOurs');
    expect(condition(vm, 'Ready')?.message).toBe(
      'PersistentVolumeClaim taken-data exists but was not made for disk data of this VM. To use its data, name it in source.claim of the disk; to leave it alone, give the disk another name.',
    );
    expect(brief(vm, 'Stalled')).toBe('True ClaimNotOurs');
    await bed.delete('taken');
  });

  test('survives its VM, and the VM applied again goes on with it', async () => {
    const vm = tinyVm('again', { disks: [blankDisk('data', '64Mi', 'Retain')], guest: sectorWriter('data') });
    await bed.apply(vm);
    await bed.untilLog('again', 'writes', (log) => lastAcknowledged(log) > 0, { timeout: 120_000 });
    const uid = (await bed.vm('again')).metadata.uid;
    await bed.delete('again');
    await bed.untilGone('again');
    await bed.apply(vm);
    await bed.untilLog(
      'again',
      'writes again',
      (log) => boots(log).length === 2 && lastAcknowledged(log) > 0,
      {
        timeout: 120_000,
      },
    );
    expect((await bed.vm('again')).metadata.uid).not.toBe(uid);
    await bed.delete('again');
    await bed.untilGone('again');
    expect(await bed.judge('again', 'again-data')).toEqual([]);
    const ring = await ringOf(bed.cluster, bed.client, bed.namespace, 'again-data');
    expect(ring.records.at(-1)?.previousBootId).toBe(boots(bed.log('again'))[0]?.bootId);
  });
});

describe('a status that was lost', () => {
  test('comes back: the same pod, identity and disks, and the guest notices nothing', async () => {
    const vm = tinyVm('wiped', { disks: [blankDisk('data')], networks: [podNetwork] });
    await bed.apply(vm);
    await bed.untilUp('wiped');
    // Versions and addresses may come a second after the rest.
    await sleep(3000);
    const { status: before } = await bed.vm('wiped');
    await bed.client.patch(
      virtualmachines,
      { namespace: bed.namespace, name: 'wiped' },
      { status: null },
      { subresource: 'status' },
    );
    const part = (status: typeof before) =>
      JSON.stringify([status?.resolved, status?.launcher, status?.interfaces, status?.disks, status?.power]);
    await bed.until('wiped', `what it was: ${part(before)}`, ({ status }) => part(status) === part(before));
    await bed.untilUp('wiped');
    expect(boots(bed.log('wiped'))).toHaveLength(1);
    expect(await bed.diff(vm)).toBe('');
    await bed.delete('wiped');
  });
});
