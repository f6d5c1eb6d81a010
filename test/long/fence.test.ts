/** A node that is gone for good: said within 40 s, and its VM goes elsewhere when a person vouches for it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kubectl } from '../cluster/kubectl.ts';
import type { NodeHandle } from '../cluster/provider.ts';
import { createSharedVolume, staticStorageClass, type TestVolume } from '../cluster/volumes.ts';
import { Bed, brief, condition } from '../e2e/support/bed.ts';
import { fillClaim } from '../e2e/support/fill-claim.ts';
import { boots, lastAcknowledged } from '../e2e/support/guest.ts';
import { claimDisk, sectorWriter, tinyVm } from '../e2e/support/manifests.ts';
import { poll } from '../e2e/support/poll.ts';
import { writersOn } from '../e2e/support/writers.ts';

const NAME = 'moves';
const CLAIM = 'shared';
/** Seconds: the promise, and what a poll and a write of the status may take on top. */
const SILENT_AFTER = 40;
const SLACK = 5;

let bed: Bed;
let volume: TestVolume;
let node: NodeHandle;

beforeAll(async () => {
  bed = await Bed.open('fence');
  node = bed.cluster.node('worker-2');
  volume = await createSharedVolume(bed.cluster, 'fence', 64);
  await fillClaim(bed, CLAIM, 32, {
    accessModes: ['ReadWriteMany'],
    storageClassName: staticStorageClass,
    volumeName: volume.name,
  });
  const preference = {
    matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In' as const, values: [node.name] }],
  };
  await bed.apply(
    tinyVm(NAME, {
      disks: [claimDisk('data', CLAIM)],
      guest: sectorWriter('data'),
      pod: {
        affinity: {
          nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, preference }] },
        },
      },
    }),
  );
  const { status } = await bed.untilUp(NAME, { timeout: 120_000 });
  expect(status?.launcher?.node).toBe(node.name);
  await bed.untilLog(NAME, 'writes', (log) => lastAcknowledged(log) > 0);
});

afterAll(async () => {
  try {
    await bed.close();
  } finally {
    await volume[Symbol.asyncDispose]();
  }
});

const outOfService = 'node.kubernetes.io/out-of-service';

describe('a node without a sign of life', () => {
  let advice = '';

  test('is called silent after 40 s, and the VM Unknown', async () => {
    const frozen = Date.now();
    await node.pause();
    const vm = await bed.untilCondition(NAME, 'Ready', 'Unknown NodeSilent', { timeout: 90_000 });
    const seconds = (Date.now() - frozen) / 1000;
    const { message = '' } = condition(vm, 'Ready') ?? {};
    advice = /kubectl (taint nodes .*)$/.exec(message)?.[1] ?? '';
    expect(seconds).toBeLessThan(SILENT_AFTER + SLACK);
    expect([brief(vm, 'Running'), brief(vm, 'GuestReady'), brief(vm, 'ControlReachable')]).toEqual([
      'Unknown NodeSilent',
      'Unknown NodeSilent',
      'Unknown NodeSilent',
    ]);
    const since = /^Node worker-2 has been silent since (\S+):/.exec(message)?.[1] ?? '';
    // Its kubelet gave a sign of life every 10 s.
    expect((frozen - Date.parse(since)) / 1000).toBeGreaterThan(-2);
    expect((frozen - Date.parse(since)) / 1000).toBeLessThan(15);
  });

  test('keeps its VM: nobody starts it elsewhere by himself', async () => {
    await sleep(3000);
    expect(await bed.podsOf(NAME)).toHaveLength(1);
    expect((await bed.vm(NAME)).status?.launcher?.incarnation).toBe(1);
  });

  test('is cut off its power and marked as the message says: the VM runs on another node', async () => {
    await node.unpause();
    await node.stop();
    await kubectl(bed.cluster.kubeconfigPath, advice.split(' '));
    const vm = await bed.until(
      NAME,
      'its second run',
      (each) => each.status?.launcher?.incarnation === 2 && brief(each) === 'True Running',
      { timeout: 120_000 },
    );
    expect(vm.status?.launcher?.node).toBe('worker-1');
    expect(vm.status?.lastRun).toMatchObject({
      result: 'Fenced',
      message: 'Node worker-2 is marked out of service: a person vouches that it is off.',
    });
    await bed.untilLog(NAME, 'writes', (log) => boots(log).length === 2 && lastAcknowledged(log) > 0);
  });

  test('comes back without the VM, which stays where it is', async () => {
    await node.start();
    await poll('the node to be Ready', async () => {
      const ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
      return (await bed.kubectl('get', 'node', node.name, '--output', ready)) === 'True';
    });
    await bed.kubectl('taint', 'nodes', node.name, `${outOfService}-`);
    const written = lastAcknowledged(bed.log(NAME));
    await bed.untilLog(NAME, 'writes on', (log) => lastAcknowledged(log) > written);
    await poll('the pod of the first run to go, and no other', async () => {
      const names = (await bed.podsOf(NAME)).map(({ metadata }) => metadata.name);
      return names.join() === `vm-${NAME}-2`;
    });
    const { stdout } = await node.exec(`stat -c 'inode %d:%i' /var/lib/shared/${volume.name}/disk.img`);
    const writers = (await Promise.all(bed.cluster.nodes.map(writersOn))).flat();
    const ours = writers.filter(({ disk }) => disk === stdout.trim());
    expect(ours.map((each) => each.node)).toEqual(['worker-1']);
    expect(brief(await bed.vm(NAME))).toBe('True Running');
  });

  test('and the disk was written by one at a time', async () => {
    await bed.patch(NAME, { runStrategy: 'Halted' });
    await bed.untilCondition(NAME, 'Ready', 'True Halted');
    expect(await bed.judge(NAME, CLAIM)).toEqual([]);
    bed.writers.check();
    await bed.delete(NAME);
    await bed.untilGone(NAME);
    await bed.kubectl('delete', 'pvc', CLAIM);
  });
});
