/** Disks that come and go while everything around them dies, against the model of the cluster. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { virtualMachineSpec } from '../../crds/virtual-machine.ts';
import { ModelCluster } from '../../test/model/cluster.ts';

const VMS = ['a', 'b'] as const;
const DISKS = {
  // One claim that both name.
  shared: { name: 'shared', source: { claim: { name: 'shared' } } },
  own: { name: 'own', source: { blank: {} }, claim: { size: '1Gi' } },
  more: { name: 'more', source: { blank: {} }, claim: { size: '1Gi' } },
};
type Disk = keyof typeof DISKS;

const spec = (disks: readonly Disk[], runStrategy = 'Always') =>
  virtualMachineSpec.parse({
    runStrategy,
    memory: { size: '64Mi' },
    kernel: { image: 'guest', path: '/boot/vmlinuz' },
    disks: disks.map((name) => DISKS[name]),
  });

const vm = fc.constantFrom(...VMS);
const stale = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) });
const writes = fc.oneof(
  { weight: 3, arbitrary: fc.constant(Number.POSITIVE_INFINITY) },
  { weight: 1, arbitrary: fc.nat(5) },
);
const one = <const D extends string, T extends object>(
  weight: number,
  what: D,
  more: { [K in keyof T]: fc.Arbitrary<T[K]> },
) => ({
  weight,
  arbitrary: fc.record({ do: fc.constant(what), ...more }) as fc.Arbitrary<{ do: D } & T>,
});
const step = fc.oneof(
  one<'reconcile', { vm: (typeof VMS)[number]; stale: number; writes: number }>(14, 'reconcile', {
    vm,
    stale,
    writes,
  }),
  one<'start', { pod: number }>(8, 'start', { pod: fc.nat(6) }),
  one<'end', { pod: number }>(2, 'end', { pod: fc.nat(6) }),
  one<'forceDelete', { pod: number }>(1, 'forceDelete', { pod: fc.nat(6) }),
  one<'edit', { vm: (typeof VMS)[number]; disks: Disk[] }>(4, 'edit', {
    vm,
    disks: fc.subarray(Object.keys(DISKS) as Disk[]),
  }),
  one<'halt', { vm: (typeof VMS)[number]; halted: boolean }>(1, 'halt', { vm, halted: fc.boolean() }),
  one<'look', object>(4, 'look', {}),
  one<'stubborn', { stubborn: boolean }>(1, 'stubborn', { stubborn: fc.boolean() }),
  one<'deaf', { deaf: boolean }>(1, 'deaf', { deaf: fc.boolean() }),
  one<'recreate', { vm: (typeof VMS)[number] }>(1, 'recreate', { vm }),
  one<'wipe', { vm: (typeof VMS)[number] }>(1, 'wipe', { vm }),
  one<'node', { ready: boolean }>(1, 'node', { ready: fc.boolean() }),
  one<'time', { seconds: number }>(1, 'time', { seconds: fc.constantFrom(1, 30, 200) }),
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function perform(cluster: ModelCluster, each: Step): void {
  const pods = [...cluster.stored.pods.values()];
  const pod = 'pod' in each ? pods[each.pod % Math.max(1, pods.length)] : undefined;
  switch (each.do) {
    case 'reconcile':
      cluster.reconcile(each.vm, each.stale, each.writes);
      break;
    case 'start':
      if (pod) cluster.startPod(pod);
      break;
    case 'end':
      if (pod && cluster.running.has(pod.metadata.uid)) cluster.endPod(pod, 'QemuKilled');
      break;
    case 'forceDelete':
      if (pod) cluster.forceDelete(pod);
      break;
    case 'edit':
      cluster.editSpec(each.vm, { disks: spec(each.disks).disks });
      break;
    case 'halt':
      cluster.editSpec(each.vm, { runStrategy: each.halted ? 'Halted' : 'Always' });
      break;
    case 'look':
      for (const uid of cluster.contacts.keys()) cluster.look(uid);
      break;
    case 'stubborn':
      cluster.stubborn = each.stubborn;
      break;
    case 'deaf':
      for (const contact of cluster.contacts.values()) contact.connected = !each.deaf;
      break;
    case 'recreate':
      if (!cluster.stored.vms.delete(each.vm)) cluster.addVm(each.vm, spec(['own']));
      break;
    case 'wipe':
      cluster.wipeStatus(each.vm);
      break;
    case 'node':
      cluster.nodeReady = each.ready ? 'True' : 'Unknown';
      break;
    case 'time':
      cluster.now += each.seconds * 1000;
      for (const contact of cluster.contacts.values()) contact.lastHeardAt = cluster.now;
  }
  cluster.now += 10;
  cluster.snapshot();
}

function newCluster(): ModelCluster {
  const cluster = new ModelCluster();
  cluster.addClaim('shared');
  for (const name of VMS) cluster.addVm(name, spec([]));
  cluster.snapshot();
  settle(cluster);
  return cluster;
}

/** Lets everybody do their work until nothing is written any more. */
function settle(cluster: ModelCluster): void {
  cluster.nodeReady = 'True';
  cluster.stubborn = false;
  for (let round = 0; round < 80; round++) {
    cluster.now += 200_000;
    for (const contact of cluster.contacts.values())
      Object.assign(contact, { connected: true, lastHeardAt: cluster.now });
    for (const uid of cluster.contacts.keys()) cluster.look(uid);
    for (let i = 0; i < 4; i++) cluster.snapshot();
    const written = VMS.reduce((sum, name) => sum + cluster.reconcile(name), 0);
    const moved = cluster.catchUp();
    judge(cluster);
    if (written === 0 && moved === 0) return;
  }
  throw new Error('it does not come to rest');
}

function judge(cluster: ModelCluster): void {
  expect(cluster.claimsWithTwoWriters()).toEqual([]);
  expect(cluster.claimsPulledAway()).toEqual([]);
  expect(cluster.vmsRunningTwice()).toEqual([]);
  expect(cluster.forgotten()).toEqual([]);
}

const pluggedIn = (cluster: ModelCluster): number =>
  [...cluster.guests.values()].reduce((sum, disks) => sum + disks.size, 0);

const TIMEOUT = 120_000;
const runs = { numRuns: Number(process.env.VMSTEAD_PROPERTY_RUNS ?? 40) };

it(
  'whatever dies, no claim has two writers, none is written while a guest holds it, and all comes to rest as wanted',
  () => {
    let plugged = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), (steps) => {
        const cluster = newCluster();
        for (const each of steps) {
          perform(cluster, each);
          judge(cluster);
          plugged += pluggedIn(cluster);
        }
        settle(cluster);
        plugged += pluggedIn(cluster);
        const pods = [...cluster.stored.pods.values()];
        const at = (name: string) => cluster.stored.vms.get(name)?.status?.disks ?? [];
        for (const [name, { spec: wanted, status }] of cluster.stored.vms) {
          expect(status?.restartRequired ?? []).toEqual(
            // A disk that the pod mounted itself goes with the pod.
            (status?.restartRequired ?? []).filter(({ wanted: now }) => now === 'none'),
          );
          const ready = status?.conditions?.find(({ type }) => type === 'Ready');
          if (ready?.reason !== 'Running') continue;
          for (const disk of wanted.disks ?? []) {
            const { attachment } = at(name).find((each) => each.name === disk.name) ?? {};
            const taken = disk.name === 'shared' && attachment?.state === 'Attaching';
            if (taken)
              expect(attachment.message).toMatch(/^PersistentVolumeClaim shared is used by VirtualMachine/);
            else expect(['InPod', 'Hotplugged']).toContain(attachment?.state);
          }
          const exported = pods.filter(
            (pod) =>
              pod.metadata.labels?.['vmstead.io/attachment'] === name &&
              cluster.running.has(pod.metadata.uid),
          );
          const hotplugged = at(name).filter(({ attachment }) => attachment?.state === 'Hotplugged');
          expect(exported.map((pod) => pod.metadata.name).sort()).toEqual(
            hotplugged.map(({ attachment }) => attachment?.podName).sort(),
          );
        }
        // What nobody runs with, nobody holds.
        for (const pod of pods) {
          if (pod.metadata.labels?.['vmstead.io/attachment'] !== undefined)
            expect(cluster.running).toContain(pod.metadata.uid);
        }
        for (const lease of cluster.stored.leases.values()) {
          const holder = cluster.stored.pods.get(lease.spec?.holderIdentity ?? '');
          expect(cluster.running).toContain(holder?.metadata.uid);
        }
      }),
      runs,
    );
    // A model in which nothing is ever plugged proves nothing.
    expect(plugged).toBeGreaterThan(0);
  },
  TIMEOUT,
);
