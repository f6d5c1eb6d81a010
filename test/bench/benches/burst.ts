/** Twenty at once: when is the last guest up, and does the control plane hold? */
import { setTimeout as sleep } from 'node:timers/promises';
import { leases, pods } from '../../../operator/kube/resources.ts';
import { virtualmachines } from '../../../operator/virtual-machine/resources.ts';
import { releaseNamespace } from '../../../setup/deploy.ts';
import type { Bed } from '../bed.ts';
import { benchVm, floorPod } from '../manifests.ts';
import type { Measurement } from '../measurement.ts';
import { summarize } from '../statistics.ts';
import { guestUp } from '../timeline.ts';
import { openWatches, type Watches, watchPod } from './pairs.ts';

const COUNT = 20;
const REST_MS = 5000;

interface Burst {
  /** Seconds from the first POST to the last guest up. */
  lastUp: number;
  firstUp: number;
}

export async function burst(bed: Bed, rounds: number): Promise<Measurement> {
  using watches = await openWatches(bed);
  const floors: Burst[] = [];
  const ours: Burst[] = [];
  const before = await health(bed);
  for (let round = 0; round < rounds; round++) {
    const sides = [
      async () => floors.push(await burstOf(bed, watches, 'floor', round)),
      async () => ours.push(await burstOf(bed, watches, 'ours', round)),
    ];
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      await side();
      await sleep(REST_MS);
    }
    bed.say(
      `burst ${round + 1}/${rounds}: last guest up ${floors.at(-1)?.lastUp.toFixed(1)} / ${ours.at(-1)?.lastUp.toFixed(1)} s`,
    );
  }
  const after = await health(bed);
  const last = (list: readonly Burst[]) => list.map(({ lastUp }) => lastUp);
  return {
    bench: 'burst',
    figures: [
      { id: 'burst.floor', unit: 's', summary: summarize(last(floors)) },
      { id: 'burst.ours', unit: 's', summary: summarize(last(ours)) },
      {
        id: 'burst.ratio',
        unit: '',
        summary: summarize(ours.map(({ lastUp }, index) => lastUp / floors[index]!.lastUp)),
      },
      { id: 'burst.leasesLost', unit: 'times', summary: summarize([after.transitions - before.transitions]) },
      { id: 'burst.restarts', unit: 'times', summary: summarize([after.restarts - before.restarts]) },
    ],
    notes: [
      `First guest up: floor ${floors.map(({ firstUp }) => firstUp.toFixed(1)).join(', ')} s, Vmstead ${ours.map(({ firstUp }) => firstUp.toFixed(1)).join(', ')} s.`,
    ],
  };
}

async function burstOf(bed: Bed, watches: Watches, side: 'floor' | 'ours', round: number): Promise<Burst> {
  const { client, namespace, transport, images } = bed;
  const names = Array.from({ length: COUNT }, (_, index) => `${side}-burst-${round}-${index}`);
  const podOf = (name: string) => (side === 'floor' ? name : `vm-${name}-1`);
  const ups = names.map(async (name) => {
    await watchPod(watches, podOf(name)).running;
    return guestUp(transport, namespace, podOf(name));
  });
  const t0 = Date.now();
  await Promise.all(
    names.map((name) => {
      if (side === 'floor') return client.create(pods, floorPod(name, namespace, images.launcher));
      return client.create(virtualmachines, benchVm(name, namespace));
    }),
  );
  const times = (await Promise.all(ups)).map((at) => (at - t0) / 1000);
  const gone = names.map((name) =>
    watches.pods.when(podOf(name), 'to be gone', (_, type) => type === 'DELETED'),
  );
  await Promise.all(
    names.map((name) =>
      client.delete<never>((side === 'floor' ? pods : virtualmachines) as never, { namespace, name }),
    ),
  );
  await Promise.all(gone);
  return { lastUp: Math.max(...times), firstUp: Math.min(...times) };
}

/** What must not change while the VMs start: who leads, and that nothing of ours was started again. */
async function health(bed: Bed): Promise<{ transitions: number; restarts: number }> {
  const lease = await bed.client.get(leases, { namespace: releaseNamespace, name: 'vmstead-operator' });
  const own = await bed.releasePods();
  const restarts = own
    .flatMap(({ status }) => status?.containerStatuses ?? [])
    .reduce((sum, each) => sum + each.restartCount, 0);
  return { transitions: lease.spec?.leaseTransitions ?? 0, restarts };
}
