/** One VM and one bare pod after the other, again and again: times, requests and deletion of single ones. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pod } from '../../../operator/kube/resources.ts';
import { pods } from '../../../operator/kube/resources.ts';
import { type StoredVirtualMachine, virtualmachines } from '../../../operator/virtual-machine/resources.ts';
import { AuditWindow, type Cost, costOf } from '../audit.ts';
import type { Bed } from '../bed.ts';
import { benchVm, floorPod } from '../manifests.ts';
import { guestUp, Timeline } from '../timeline.ts';

/** Seconds since the POST was sent. */
export interface Start {
  podSeen: number;
  scheduled: number;
  podRunning: number;
  /** Ours: status says that the machine runs. Floor: the pod runs. */
  running: number;
  guestUp: number;
  /** Ours: status says that the guest is up. */
  guestReady: number | undefined;
  /** From DELETE sent to the pod's object gone. */
  deleted: number;
  cost: Cost | undefined;
}

export interface Pair {
  floor: Start;
  ours: Start;
}

/** After the guest is up: what the parts still write about it belongs to its start. */
const AFTERMATH_MS = 1500;
/** Between two runs, for the last one's clean-up. */
const REST_MS = 1500;

export interface Watches extends Disposable {
  pods: Timeline;
  vms: Timeline;
}

export async function openWatches({ transport, namespace }: Bed): Promise<Watches> {
  const podWatch = await Timeline.open(transport, `/api/v1/namespaces/${namespace}/pods`, 'pods');
  const vmPath = `/apis/vmstead.io/v1alpha1/namespaces/${namespace}/virtualmachines`;
  const vmWatch = await Timeline.open(transport, vmPath, 'virtualmachines');
  return {
    pods: podWatch,
    vms: vmWatch,
    [Symbol.dispose]() {
      podWatch[Symbol.dispose]();
      vmWatch[Symbol.dispose]();
    },
  };
}

const podCondition = (pod: Pod, type: string): boolean =>
  pod.status?.conditions?.some((each) => each.type === type && each.status === 'True') ?? false;
const vmCondition = (vm: StoredVirtualMachine, type: string): boolean =>
  vm.status?.conditions?.some((each) => each.type === type && each.status === 'True') ?? false;

/** Marks of a pod on its way. */
export function watchPod(watches: Watches, name: string) {
  const when = (what: string, holds: (pod: Pod) => boolean) => watches.pods.when<Pod>(name, what, holds);
  return {
    seen: when('to be there', () => true),
    scheduled: when('to have a node', (pod) => podCondition(pod, 'PodScheduled')),
    running: when('to run', (pod) => pod.status?.phase === 'Running'),
  };
}

function watchVm(watches: Watches, name: string) {
  const when = (type: string) =>
    watches.vms.when<StoredVirtualMachine>(name, `to be ${type}`, (vm) => vmCondition(vm, type));
  return { running: when('Running'), guestReady: when('GuestReady') };
}

async function startFloor(bed: Bed, watches: Watches, name: string): Promise<Start> {
  const { client, transport, namespace, images } = bed;
  const audit = await beginAudit(bed);
  const marks = watchPod(watches, name);
  const t0 = Date.now();
  await client.create(pods, floorPod(name, namespace, images.launcher));
  const running = await marks.running;
  const up = await guestUp(transport, namespace, name);
  await sleep(AFTERMATH_MS);
  const cost = await audit?.(t0, up + AFTERMATH_MS);
  const gone = watches.pods.when(name, 'to be gone', (_, type) => type === 'DELETED');
  const d0 = Date.now();
  await client.delete(pods, { namespace, name });
  const since = (at: number) => (at - t0) / 1000;
  return {
    podSeen: since(await marks.seen),
    scheduled: since(await marks.scheduled),
    podRunning: since(running),
    running: since(running),
    guestUp: since(up),
    guestReady: undefined,
    deleted: ((await gone) - d0) / 1000,
    cost,
  };
}

async function startOurs(bed: Bed, watches: Watches, name: string): Promise<Start> {
  const { client, transport, namespace } = bed;
  const pod = `vm-${name}-1`;
  const audit = await beginAudit(bed);
  const podMarks = watchPod(watches, pod);
  const vmMarks = watchVm(watches, name);
  const t0 = Date.now();
  await client.create(virtualmachines, benchVm(name, namespace));
  const podRunning = await podMarks.running;
  const up = await guestUp(transport, namespace, pod);
  const running = await vmMarks.running;
  const guestReady = await vmMarks.guestReady;
  await sleep(AFTERMATH_MS);
  const cost = await audit?.(t0, Math.max(up, guestReady) + AFTERMATH_MS);
  const gone = watches.pods.when(pod, 'to be gone', (_, type) => type === 'DELETED');
  const d0 = Date.now();
  await client.delete(virtualmachines, { namespace, name });
  const since = (at: number) => (at - t0) / 1000;
  return {
    podSeen: since(await podMarks.seen),
    scheduled: since(await podMarks.scheduled),
    podRunning: since(podRunning),
    running: since(running),
    guestUp: since(up),
    guestReady: since(guestReady),
    deleted: ((await gone) - d0) / 1000,
    cost,
  };
}

async function beginAudit({ cluster, namespace }: Bed) {
  if (cluster.auditLogPath === undefined) return undefined;
  const window = await AuditWindow.begin(cluster.auditLogPath);
  return async (from: number, to: number): Promise<Cost> =>
    costOf(await window.requests(from, to), namespace);
}

/** The first pair warms caches up and is not counted; then they take turns in being first. */
export async function runPairs(bed: Bed, count: number): Promise<Pair[]> {
  using watches = await openWatches(bed);
  const pairs: Pair[] = [];
  for (let index = 0; index <= count; index++) {
    const sides = [
      async (pair: Partial<Pair>) => {
        pair.floor = await startFloor(bed, watches, `floor-${index}`);
      },
      async (pair: Partial<Pair>) => {
        pair.ours = await startOurs(bed, watches, `ours-${index}`);
      },
    ];
    const pair: Partial<Pair> = {};
    for (const side of index % 2 === 0 ? sides : sides.toReversed()) {
      await side(pair);
      await sleep(REST_MS);
    }
    const whole = pair as Pair;
    const label = index === 0 ? 'warm-up' : `pair ${index}/${count}`;
    const { floor, ours } = whole;
    bed.say(
      `${label}: guest up ${floor.guestUp.toFixed(2)} / ${ours.guestUp.toFixed(2)} s, running ${floor.running.toFixed(2)} / ${ours.running.toFixed(2)} s, gone ${floor.deleted.toFixed(2)} / ${ours.deleted.toFixed(2)} s`,
    );
    if (index > 0) pairs.push(whole);
  }
  return pairs;
}
