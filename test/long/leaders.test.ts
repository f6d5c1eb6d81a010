/** The leading operator hangs, or loses its connections: nothing is done twice, and nothing is missed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Bed, brief } from '../e2e/support/bed.ts';
import { boots, lastAcknowledged } from '../e2e/support/guest.ts';
import { blankDisk, operation, sectorWriter, tinyVm } from '../e2e/support/manifests.ts';
import { auditFromNow, leader, nextLeader, operatorPod, operatorProcess } from '../e2e/support/operator.ts';
import { poll } from '../e2e/support/poll.ts';
import { writersOn } from '../e2e/support/writers.ts';

let bed: Bed;
const name = 'led';

beforeAll(async () => {
  bed = await Bed.open('leaders');
  await bed.apply(tinyVm(name, { disks: [blankDisk('data')], guest: sectorWriter('data') }));
  await bed.untilUp(name, { timeout: 120_000 });
});

afterAll(() => bed.close());

test('connections to the API server are cut: the same leader soon sees again what changes', async () => {
  const leading = await leader(bed);
  const process = await operatorProcess(bed, leading);
  const restarts = (await operatorPod(bed, leading)).status?.containerStatuses?.[0]?.restartCount;
  const audit = await auditFromNow(bed);
  const clusterIP = 'jsonpath={.spec.clusterIP}';
  const address = await bed.kubectl('get', 'service', 'kubernetes', '-n', 'default', '--output', clusterIP);
  const rule = `OUTPUT -p tcp -d ${address} -j REJECT --reject-with tcp-reset`;
  await process.inNetwork(`iptables -I ${rule}`);
  try {
    // What the API server tells its watchers now is answered with a reset.
    await bed.apply(tinyVm('seen', { runStrategy: 'Halted' }));
    await sleep(3000);
    expect((await bed.vm('seen')).status).toBeUndefined();
  } finally {
    await process.inNetwork(`iptables -D ${rule}`);
  }
  await bed.untilCondition('seen', 'Ready', 'True Halted', { timeout: 60_000 });
  await bed.patch('seen', { memory: { size: '96Mi' } });
  await bed.until('seen', 'the change', ({ status }) => status?.resolved?.memory === '96Mi', {
    timeout: 60_000,
  });
  expect((await audit.watchesOf(leading)).map(({ resource }) => resource)).toContain('virtualmachines');
  expect(await leader(bed)).toBe(leading);
  expect((await operatorPod(bed, leading)).status?.containerStatuses?.[0]?.restartCount).toBe(restarts);
  expect(brief(await bed.vm(name))).toBe('True Running');
  await bed.delete('seen');
});

test('a leader that hangs is replaced, and when it goes on it does nothing any more', async () => {
  const former = await leader(bed);
  const process = await operatorProcess(bed, former);
  const restarts = (await operatorPod(bed, former)).status?.containerStatuses?.[0]?.restartCount ?? 0;
  await bed.untilLog(name, 'writes', (log) => lastAcknowledged(log) > 0);
  const audit = await auditFromNow(bed);
  // It is stopped in the middle of things: an operation was made that it knows of.
  await bed.apply(operation('again', name, 'Restart'));
  await process.signal('STOP');
  let stopped: number;
  let successor: string;
  try {
    successor = await nextLeader(bed, former);
    stopped = Date.now();
    await bed.until(
      name,
      'a second life, by the new leader',
      (vm) => vm.status?.launcher?.incarnation === 2 && brief(vm) === 'True Running',
      { timeout: 90_000 },
    );
  } finally {
    await process.signal('CONT');
  }
  await poll('the former leader to end', async () => {
    const { lastState, restartCount } = (await operatorPod(bed, former)).status?.containerStatuses?.[0] ?? {};
    return restartCount === restarts + 1 && lastState?.terminated?.exitCode === 1;
  });
  expect((await audit.writesOf(successor)).map(({ resource }) => resource)).toContain('pods');
  expect((await audit.writesOf(former)).filter(({ at }) => at > stopped)).toEqual([]);

  await poll('the operation to be done', async () => {
    return (await bed.operationOf('again')).status?.phase === 'Succeeded';
  });
  const alive = (await bed.podsOf(name)).filter(({ status }) => status?.phase === 'Running');
  expect(alive.map(({ metadata }) => metadata.name)).toEqual([`vm-${name}-2`]);
  const writers = (await Promise.all(bed.cluster.nodes.map(writersOn))).flat();
  expect(writers.filter(({ path }) => path.includes('/disks/data/'))).toHaveLength(1);
  await bed.untilLog(name, 'writes again', (log) => boots(log).length === 2 && lastAcknowledged(log) > 0);
  await bed.patch(name, { runStrategy: 'Halted' });
  await bed.untilCondition(name, 'Ready', 'True Halted');
  expect(await bed.judge(name, `${name}-data`)).toEqual([]);
});
