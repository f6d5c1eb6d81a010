import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type MachineDescription, machineDescription } from '../../crds/machine-description.ts';
import { virtualMachineSpec } from '../../crds/virtual-machine.ts';
import { ModelCluster } from '../../test/model/cluster.ts';

const spec = (iops: number | undefined) =>
  virtualMachineSpec.parse({
    memory: { size: '64Mi' },
    disks: [
      {
        name: 'data',
        source: { blank: {} },
        claim: { size: '1Gi' },
        ...(iops === undefined ? {} : { limits: { iops } }),
      },
    ],
  });

const step = fc.oneof(
  fc.record({
    do: fc.constant('reconcile' as const),
    stale: fc.nat(3),
    writes: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.nat(3)),
  }),
  fc.record({
    do: fc.constant('limit' as const),
    iops: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
  }),
  fc.record({ do: fc.constant('deaf' as const), deaf: fc.boolean() }),
);

it('whatever operators die of, a running machine comes to what its spec says, told by its launcher', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 25 }), (steps) => {
      const cluster = new ModelCluster();
      cluster.addVm('web', spec(undefined));
      const settle = () => {
        for (let round = 0; round < 20; round++) {
          for (let i = 0; i < 4; i++) cluster.snapshot();
          cluster.now += 1000;
          for (const contact of cluster.contacts.values())
            Object.assign(contact, { connected: true, lastHeardAt: cluster.now });
          const written = cluster.reconcile('web');
          for (const pod of cluster.stored.pods.values()) cluster.startPod(pod);
          if (round > 5 && written === 0) return;
        }
        throw new Error('it does not come to rest');
      };
      settle();
      const [pod] = [...cluster.stored.pods.values()];
      let wanted: number | undefined;
      let revision = 0;
      const machine = (): MachineDescription =>
        machineDescription.parse(JSON.parse(pod?.metadata.annotations?.['vmstead.io/machine'] ?? ''));
      for (const each of steps) {
        if (each.do === 'reconcile') cluster.reconcile('web', each.stale, each.writes);
        else if (each.do === 'deaf') {
          for (const contact of cluster.contacts.values()) contact.connected = !each.deaf;
        } else {
          wanted = each.iops;
          cluster.editSpec('web', spec(wanted));
        }
        cluster.now += 10;
        cluster.snapshot();
        // Each change has a number of its own: a launcher that hears an old one late can tell.
        expect(machine().revision ?? 0).toBeGreaterThanOrEqual(revision);
        revision = machine().revision ?? 0;
      }
      settle();
      expect(machine().disks[0]?.limits).toEqual(wanted === undefined ? undefined : { iops: wanted });
      expect(cluster.contacts.get(pod?.metadata.uid ?? '')?.report?.revision ?? 0).toBe(
        machine().revision ?? 0,
      );
      expect(cluster.stored.vms.get('web')?.status?.restartRequired).toBeUndefined();
      expect(cluster.stored.pods.size).toBe(1);
    }),
    { numRuns: 50 },
  );
}, 60_000);
