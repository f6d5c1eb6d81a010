import { afterAll, beforeAll, expect, test } from 'vitest';
import { type StoredVirtualMachine, virtualmachines } from '../../operator/virtual-machine/resources.ts';
import { Bed, brief } from './support/bed.ts';
import { kstatusOf } from './support/kstatus.ts';
import { claimDisk, operation, tinyVm } from './support/manifests.ts';

/** Whoever waits with kstatus (Flux, `kubectl` plug-ins, Argo CD's kin) is told the truth through a whole life. */
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open('kstatus');
});

afterAll(() => bed.close());

/** Every state of a VM that the API server stored, as a watch shows them. */
async function* history(name: string, signal: AbortSignal): AsyncGenerator<StoredVirtualMachine> {
  const stream = await bed.client.watch(virtualmachines, {
    namespace: bed.namespace,
    fieldSelector: `metadata.name=${name}`,
    resourceVersion: '0',
    timeoutSeconds: 600,
    signal,
  });
  let rest = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { type, object } = JSON.parse(line);
      if (type === 'ADDED' || type === 'MODIFIED') yield object;
    }
  }
}

const kinds = { apiVersion: 'vmstead.io/v1alpha1', kind: 'VirtualMachine' };

test('a whole life: never Current before it runs, Current while it does, Failed when only a person can help', async () => {
  const stop = new AbortController();
  const seen: StoredVirtualMachine[] = [];
  const watching = (async () => {
    try {
      for await (const vm of history('life', stop.signal)) {
        // Before a controller has seen it an object has no status, which kstatus takes for Current with every kind.
        if (vm.status) seen.push(vm);
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  })();
  await bed.apply(tinyVm('life', { runStrategy: 'Manual' }));
  await bed.untilCondition('life', 'Ready', 'True NotStarted');
  await bed.operate(operation('start', 'life', 'Start'));
  await bed.untilUp('life', { timeout: 120_000 });
  await bed.operate(operation('pause', 'life', 'Pause'));
  await bed.operate(operation('resume', 'life', 'Resume'));
  await bed.typeInto('life', 'panic');
  await bed.untilCondition('life', 'Ready', 'False Failed');
  await bed.patch('life', { runStrategy: 'Halted' });
  await bed.untilCondition('life', 'Ready', 'True Halted');
  stop.abort();
  await watching;

  const wanted = seen.map((vm) => {
    if (vm.status?.observedGeneration !== vm.metadata.generation) return 'InProgress';
    if (brief(vm).startsWith('True')) return 'Current';
    return vm.status?.phase === 'Failed' ? 'Failed' : 'InProgress';
  });
  expect(await kstatusOf(seen.map((vm) => ({ ...vm, ...kinds })))).toEqual(wanted);
  expect(new Set(wanted)).toEqual(new Set(['Current', 'InProgress', 'Failed']));
});

test('a VM that waits for what may come is InProgress, one that needs a person Failed', async () => {
  await bed.apply(tinyVm('waits', { pod: { nodeSelector: { disk: 'fast' } } }));
  await bed.apply(tinyVm('claimless', { disks: [claimDisk('data', 'nobodys')] }));
  await bed.untilCondition('waits', 'Ready', 'False Unschedulable');
  await bed.untilCondition('claimless', 'Ready', 'False ClaimNotFound');
  const vms = await Promise.all(['waits', 'claimless'].map((name) => bed.vm(name)));
  expect(await kstatusOf(vms.map((vm) => ({ ...vm, ...kinds })))).toEqual(['InProgress', 'InProgress']);
});

test('an operation is InProgress until its end, then Current or Failed', async () => {
  await bed.apply(tinyVm('operated', { pod: { nodeSelector: { disk: 'fast' } } }));
  await bed.operate(operation('fails', 'operated-not', 'Start'));
  await bed.operate(operation('succeeds', 'operated', 'Stop'));
  const operations = await Promise.all(['fails', 'succeeds'].map((name) => bed.operationOf(name)));
  const kind = { ...kinds, kind: 'VirtualMachineOperation' };
  expect(await kstatusOf(operations.map((each) => ({ ...each, ...kind })))).toEqual(['Failed', 'Current']);
});
