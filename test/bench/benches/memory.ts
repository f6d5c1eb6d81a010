/** What a launcher pod holds beyond its QEMU, and what it books: alone on its node, and ten on one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseBytes } from '../../../crds/quantity.ts';
import { type Pod, pods } from '../../../operator/kube/resources.ts';
import { TRANSLATION_BUFFER_MIB } from '../../../operator/virtual-machine/overhead.ts';
import { virtualmachines } from '../../../operator/virtual-machine/resources.ts';
import type { Bed } from '../bed.ts';
import { benchVm, floorPod, GUEST_MIB } from '../manifests.ts';
import type { Measurement } from '../measurement.ts';
import { type Process, processesOn, sum } from '../processes.ts';
import { summarize } from '../statistics.ts';
import { guestUp } from '../timeline.ts';
import { openWatches, type Watches, watchPod } from './pairs.ts';

const MANY = 10;
/** The peer's figures were taken so long after the guest was up. */
const SETTLE_MS = 60_000;
/** At once they would boot so slowly on two cores that the first would be much older than the last. */
const AT_ONCE = 3;
const MIB = 1024 * 1024;

const isQemu = ({ program }: Process): boolean => program.startsWith('qemu-system');
/** KiB as MiB. */
const mib = (kib: number): number => kib / 1024;

/** @param rounds of single VMs; ten on a node are measured once, as ten samples */
export async function memory(bed: Bed, rounds: number): Promise<Measurement> {
  using watches = await openWatches(bed);
  const node = bed.cluster.nodes[0]!.name;
  const floors: number[] = [];
  const alone: { pod: Pod; processes: Process[] }[] = [];
  for (let round = 0; round < rounds; round++) {
    // Each alone on its node, and both at once: they do not share a page that counts here.
    const other = bed.cluster.nodes[1]!.name;
    const [floor, ours] = await Promise.all([
      floorAlone(bed, watches, round, other),
      oursOn(bed, watches, [`memory-${round}`], node),
    ]);
    floors.push(
      mib(
        sum(
          floor.filter((each) => !isQemu(each)),
          ({ pss }) => pss,
        ),
      ),
    );
    alone.push(ours[0]!);
    bed.say(
      `memory ${round + 1}/${rounds}: ${beyondQemu(ours[0]!.processes).toFixed(1)} MiB beyond QEMU alone`,
    );
  }
  const names = Array.from({ length: MANY }, (_, index) => `memory-many-${index}`);
  const many = await oursOn(bed, watches, names, node);
  bed.say(
    `memory: ${summarize(many.map(({ processes }) => beyondQemu(processes))).median.toFixed(1)} MiB beyond QEMU of ${MANY}`,
  );

  const request =
    Number(parseBytes(alone[0]!.pod.spec?.containers[0]?.resources?.requests?.memory ?? '0')) / MIB;
  const owned = (list: typeof many) =>
    list.map(({ processes }) => mib(sum(beside(processes), (each) => each.private)));
  const whole = ({ processes }: { processes: Process[] }) => mib(sum(processes, ({ pss }) => pss));
  const qemu = ({ processes }: { processes: Process[] }) =>
    mib(sum(processes.filter(isQemu), ({ pss }) => pss));
  return {
    bench: 'memory',
    figures: [
      { id: 'memory.floor.alone', unit: 'MiB', summary: summarize(floors) },
      {
        id: 'memory.alone',
        unit: 'MiB',
        summary: summarize(alone.map(({ processes }) => beyondQemu(processes))),
      },
      { id: 'memory.alone.private', unit: 'MiB', summary: summarize(owned(alone)) },
      {
        id: 'memory.ten',
        unit: 'MiB',
        summary: summarize(many.map(({ processes }) => beyondQemu(processes))),
      },
      { id: 'memory.ten.private', unit: 'MiB', summary: summarize(owned(many)) },
      { id: 'memory.request', unit: 'MiB', summary: summarize([request - GUEST_MIB]) },
      { id: 'memory.buffer', unit: 'MiB', summary: summarize([TRANSLATION_BUFFER_MIB]) },
      {
        id: 'memory.podOfRequest',
        unit: 'MiB',
        summary: summarize(alone.map((each) => request - whole(each))),
      },
    ],
    notes: [
      `Alone, by program (MiB PSS / private): ${byProgram(alone[0]!.processes)}.`,
      `Of ten, the first: ${byProgram(many[0]!.processes)}.`,
      `Most private of any launcher: ${Math.max(...owned(alone), ...owned(many)).toFixed(1)} MiB. QEMU's PSS: ${alone.map((each) => qemu(each).toFixed(0)).join(', ')} MiB for a guest of ${GUEST_MIB} MiB.`,
    ],
  };
}

const beside = (processes: readonly Process[]): Process[] => processes.filter((each) => !isQemu(each));
const beyondQemu = (processes: readonly Process[]): number => mib(sum(beside(processes), ({ pss }) => pss));

function byProgram(processes: readonly Process[]): string {
  return processes
    .map(({ program, pss, private: own }) => `${program} ${mib(pss).toFixed(1)} / ${mib(own).toFixed(1)}`)
    .join(', ');
}

async function floorAlone(bed: Bed, watches: Watches, round: number, node: string): Promise<Process[]> {
  const { client, namespace, transport, images } = bed;
  const name = `floor-memory-${round}`;
  const marks = watchPod(watches, name);
  const pod = await client.create(pods, floorPod(name, namespace, images.launcher, node));
  await marks.running;
  await guestUp(transport, namespace, name);
  await sleep(SETTLE_MS);
  const processes = await processesOn(bed.cluster, node);
  const gone = watches.pods.when(name, 'to be gone', (_, type) => type === 'DELETED');
  await client.delete(pods, { namespace, name });
  await gone;
  return processes.filter(({ podUid }) => podUid === pod.metadata.uid);
}

/** Starts VMs on a node, reads their processes when all have been up for a minute, and deletes them. */
async function oursOn(bed: Bed, watches: Watches, names: readonly string[], node: string) {
  const { client, namespace, transport } = bed;
  const waiting = [...names];
  const starters = Array.from({ length: AT_ONCE }, async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const pod = `vm-${name}-1`;
      const marks = watchPod(watches, pod);
      await client.create(virtualmachines, benchVm(name, namespace, node));
      await marks.running;
      await guestUp(transport, namespace, pod);
    }
  });
  await Promise.all(starters);
  await sleep(SETTLE_MS);
  const there = await Promise.all(names.map((name) => client.get(pods, { namespace, name: `vm-${name}-1` })));
  const processes = await processesOn(bed.cluster, node);
  const gone = names.map((name) =>
    watches.pods.when(`vm-${name}-1`, 'to be gone', (_, type) => type === 'DELETED'),
  );
  await Promise.all(names.map((name) => client.delete(virtualmachines, { namespace, name })));
  await Promise.all(gone);
  return there.map((pod) => ({
    pod,
    processes: processes.filter(({ podUid }) => podUid === pod.metadata.uid),
  }));
}
