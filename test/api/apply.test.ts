/** The writes of the VirtualMachine controller, each told of an object that is another one by now. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { API_VERSION, LABEL, LAUNCHER_FINALIZER } from '../../crds/api.ts';
import { LauncherRegistry } from '../../operator/channel/registry.ts';
import { Cache } from '../../operator/kube/cache.ts';
import { orNotFound } from '../../operator/kube/errors.ts';
import {
  type Lease,
  leases,
  nodes,
  type Pod,
  persistentvolumeclaims,
  pods,
} from '../../operator/kube/resources.ts';
import { createLogger } from '../../operator/log.ts';
import { virtualmachinerestores, virtualmachinesnapshots } from '../../operator/snapshot/resources.ts';
import type { Action } from '../../operator/virtual-machine/action.ts';
import { carryOut, type Hands, writeStatus } from '../../operator/virtual-machine/apply.ts';
import { virtualmachineoperations, virtualmachines } from '../../operator/virtual-machine/resources.ts';
import { type ServerWithCrds, startServerWithCrds } from './support/crds.ts';
import { createLauncherPod } from './support/pods.ts';
import { vms, vmWith } from './support/virtual-machines.ts';
import { waitFor } from './support/wait-for.ts';

const namespace = 'default';
const log = createLogger('silent');
const stop = new AbortController();
let api: ServerWithCrds;
let hands: Hands;

beforeAll(async () => {
  api = await startServerWithCrds();
  const { client } = api;
  hands = {
    client,
    caches: {
      virtualMachines: new Cache(client, virtualmachines, { log }),
      operations: new Cache(client, virtualmachineoperations, { log }),
      snapshots: new Cache(client, virtualmachinesnapshots, { log }),
      restores: new Cache(client, virtualmachinerestores, { log }),
      pods: new Cache(client, pods, { log }),
      attachments: new Cache(client, pods, { log, labelSelector: LABEL.attachment }),
      claims: new Cache(client, persistentvolumeclaims, { log }),
      leases: new Cache(client, leases, { log }),
      nodes: new Cache(client, nodes, { log }),
    },
    launchers: new LauncherRegistry({ log }),
    attachmentKey: () => '0'.repeat(64),
  };
  void hands.caches.pods.run(stop.signal);
  await hands.caches.pods.synced;
});
afterAll(async () => {
  stop.abort();
  await api?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  for (const name of ['vm-web-1', 'vm-web-2']) {
    await orNotFound(api.client.patch(pods, { namespace, name }, { metadata: { finalizers: null } }));
    await orNotFound(api.client.delete(pods, { namespace, name }, { gracePeriodSeconds: 0 }));
  }
});

const act = (action: Action) => carryOut(hands, action);
const podNow = (name: string) => orNotFound(api.client.get(pods, { namespace, name }));
const CONFLICT = { reason: 'Conflict' };

async function launcherPod(name = 'vm-web-1'): Promise<Pod> {
  const pod = await createLauncherPod(api.client, namespace, 'web', name);
  const metadata = { finalizers: [LAUNCHER_FINALIZER, 'example.com/other'] };
  return api.client.patch(pods, { namespace, name: pod.metadata.name }, { metadata });
}

/** The pod of that name as a cache had it, and the other one that has the name since. */
async function replaced(): Promise<{ old: Pod; now: Pod }> {
  const old = await launcherPod();
  await api.client.patch(pods, { namespace, name: 'vm-web-1' }, { metadata: { finalizers: null } });
  await api.client.delete(pods, { namespace, name: 'vm-web-1' }, { gracePeriodSeconds: 0 });
  return { old, now: await launcherPod() };
}

describe('a pod that is another one by now', () => {
  test('is not deleted', async () => {
    const { old, now } = await replaced();
    await expect(act({ type: 'DeletePod', pod: old, graceSeconds: undefined })).rejects.toMatchObject(
      CONFLICT,
    );
    expect((await podNow('vm-web-1'))?.metadata).toMatchObject({ uid: now.metadata.uid });
    expect((await podNow('vm-web-1'))?.metadata.deletionTimestamp).toBeUndefined();
  });

  test('keeps its finalizer', async () => {
    const { old, now } = await replaced();
    await expect(act({ type: 'DropFinalizer', pod: old })).rejects.toMatchObject(CONFLICT);
    expect((await podNow('vm-web-1'))?.metadata.finalizers).toEqual(now.metadata.finalizers);
  });
});

describe('a pod that is let go', () => {
  test('keeps the finalizers of others, those too that came since', async () => {
    const pod = await launcherPod();
    const finalizers = [...(pod.metadata.finalizers ?? []), 'example.com/new'];
    await api.client.patch(pods, { namespace, name: 'vm-web-1' }, { metadata: { finalizers } });
    await expect(act({ type: 'DropFinalizer', pod })).rejects.toMatchObject(CONFLICT);
    expect((await podNow('vm-web-1'))?.metadata.finalizers).toEqual(finalizers);
    await act({ type: 'DropFinalizer', pod: (await podNow('vm-web-1'))! });
    expect((await podNow('vm-web-1'))?.metadata.finalizers).toEqual(['example.com/other', 'example.com/new']);
  });

  test('by force still has a second: without one its object would go and nobody had asked its kubelet', async () => {
    await api.client.create(pods, {
      metadata: { namespace, name: 'vm-web-2', labels: { [LABEL.vm]: 'web' } },
      spec: {
        nodeName: 'silent',
        serviceAccountName: 'default',
        containers: [{ name: 'launcher', image: 'none' }],
      },
    });
    const pod = (await podNow('vm-web-2'))!;
    await act({ type: 'DeletePod', pod, graceSeconds: 0 });
    expect((await podNow('vm-web-2'))?.metadata.deletionGracePeriodSeconds).toBe(1);
  });
});

test('a second life is not begun while the API server has a pod that the cache has not', async () => {
  await launcherPod('vm-web-1');
  const blind: Hands = {
    ...hands,
    caches: { ...hands.caches, pods: new Cache(api.client, pods, { log }) },
  };
  const draft = (name: string, incarnation: string): Action => ({
    type: 'CreatePod',
    pod: {
      metadata: { namespace, name, labels: { [LABEL.vm]: 'web', [LABEL.incarnation]: incarnation } },
      spec: { serviceAccountName: 'default', containers: [{ name: 'launcher', image: 'none' }] },
    },
  });
  await expect(carryOut(blind, draft('vm-web-2', '2'))).rejects.toThrow(
    'pod default/vm-web-1 is not in the cache yet; the start of its VM waits for it',
  );
  expect(await podNow('vm-web-2')).toBeUndefined();
  await waitFor('the cache', () => hands.caches.pods.get('default/vm-web-1'));
  await act(draft('vm-web-2', '2'));
  expect(await podNow('vm-web-2')).toBeDefined();
  // The name is a mutex: another VM's pod is not taken for this one's.
  await expect(act(draft('vm-web-1', '1'))).rejects.toMatchObject({ wait: { reason: 'PodNameTaken' } });
});

describe('the lease of a claim', () => {
  const ref = { namespace, name: 'vmstead-claim-c-uid' };
  const draft = (holderIdentity: string) => ({ metadata: ref, spec: { holderIdentity } });
  const take = (holder: string, replaces?: Lease) =>
    act({ type: 'TakeLease', lease: draft(holder), replaces });
  const holder = async () => (await orNotFound(api.client.get(leases, ref)))?.spec?.holderIdentity;

  beforeEach(async () => {
    await orNotFound(api.client.delete(leases, ref));
  });

  test('is taken by one of two, new or left over', async () => {
    const both = await Promise.allSettled([take('vm-a-1'), take('vm-b-1')]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const left = await api.client.get(leases, ref);
    const again = await Promise.allSettled([take('vm-a-2', left), take('vm-b-2', left)]);
    expect(again.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await holder()).toBe(again[0].status === 'fulfilled' ? 'vm-a-2' : 'vm-b-2');
  });

  test('is not given back by who no longer has it', async () => {
    await take('vm-a-1');
    const seen = await api.client.get(leases, ref);
    await take('vm-b-1', seen);
    const release = (lease: Lease, holder: string) => act({ type: 'ReleaseLease', lease, holders: [holder] });
    await expect(release(seen, 'vm-a-1')).rejects.toMatchObject(CONFLICT);
    expect(await holder()).toBe('vm-b-1');
    // Given back and taken anew it has another uid.
    const taken = await api.client.get(leases, ref);
    await release(taken, 'vm-b-1');
    await take('vm-a-2');
    await expect(release(taken, 'vm-b-1')).rejects.toMatchObject(CONFLICT);
    expect(await holder()).toBe('vm-a-2');
  });

  test('that several hold is kept by the others when one gives it back, and joined or left by one at a time', async () => {
    await take('vm-a-1,vm-b-1');
    const seen = await api.client.get(leases, ref);
    const release = (holder: string) => act({ type: 'ReleaseLease', lease: seen, holders: [holder] });
    const both = await Promise.allSettled([release('vm-a-1'), take('vm-a-1,vm-b-1,vm-c-1', seen)]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await holder()).toBe(both[0].status === 'fulfilled' ? 'vm-b-1' : 'vm-a-1,vm-b-1,vm-c-1');
    const last = await api.client.get(leases, ref);
    await act({ type: 'ReleaseLease', lease: last, holders: ['vm-a-1', 'vm-b-1', 'vm-c-1'] });
    expect(await holder()).toBeUndefined();
  });
});

test('a status does not land on a VM that was made anew under its name', async () => {
  const first = await api.client.create(vms, vmWith());
  await api.client.delete(vms, { namespace, name: 'web' });
  const second = await api.client.create(vms, vmWith());
  await expect(writeStatus(hands, first.metadata, { phase: 'Running' })).rejects.toMatchObject(CONFLICT);
  const stored = await api.client.get(virtualmachines, { namespace, name: 'web' });
  expect([stored.metadata.uid, stored.status]).toEqual([second.metadata.uid, undefined]);
  await writeStatus(hands, stored.metadata, { phase: 'Running' });
  expect((await api.client.get(virtualmachines, { namespace, name: 'web' })).status).toEqual({
    phase: 'Running',
  });
});

test('nor does the status of an operation', async () => {
  const draft = {
    apiVersion: API_VERSION,
    kind: 'VirtualMachineOperation',
    metadata: { namespace, name: 'op' },
    spec: { virtualMachine: 'web', type: 'Stop' },
  } as const;
  const operation = await api.client.create(virtualmachineoperations, draft);
  await api.client.delete(virtualmachineoperations, { namespace, name: 'op' });
  const status = { phase: 'Succeeded' as const };
  // It is gone: nobody is to be told.
  await act({ type: 'UpdateOperation', operation, status });
  await api.client.create(virtualmachineoperations, draft);
  await expect(act({ type: 'UpdateOperation', operation, status })).rejects.toMatchObject(CONFLICT);
});
