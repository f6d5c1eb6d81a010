/** The control plane with nothing to do: operators, agents and provers of a cluster of two nodes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditWindow } from '../audit.ts';
import type { Bed } from '../bed.ts';
import type { Figure, Measurement } from '../measurement.ts';
import { RELEASE_NAMESPACES } from '../names.ts';
import { type Process, processesOf, sum } from '../processes.ts';
import { summarize } from '../statistics.ts';

const SECONDS = 100;
/** Before, so that what the start of things cost is over. */
const SETTLE_MS = 30_000;

export async function idle(bed: Bed): Promise<Measurement> {
  const { cluster } = bed;
  await sleep(SETTLE_MS);
  const own = await bed.releasePods();
  const audit =
    cluster.auditLogPath === undefined ? undefined : await AuditWindow.begin(cluster.auditLogPath);
  const before = await processesOf(cluster, own);
  const from = Date.now();
  await sleep(SECONDS * 1000);
  const after = await processesOf(cluster, own);
  const to = Date.now();
  const minutes = (to - from) / 60_000;
  const cpu = sum(after, ({ cpuSeconds }) => cpuSeconds) - sum(before, ({ cpuSeconds }) => cpuSeconds);
  const figures: Figure[] = [
    { id: 'idle.pss', unit: 'MiB', summary: summarize([sum(after, ({ pss }) => pss) / 1024]) },
    { id: 'idle.cpu', unit: 'millicores', summary: summarize([(cpu / ((to - from) / 1000)) * 1000]) },
  ];
  const notes = own.map((pod) => {
    const processes = after.filter(({ podUid }) => podUid === pod.metadata.uid);
    return `${pod.metadata.namespace}/${pod.metadata.name} on ${pod.spec?.nodeName}: ${programs(processes)}`;
  });
  if (audit !== undefined) {
    const accounts = new Set(own.map(({ spec }) => spec?.serviceAccountName));
    const requests = (await audit.requests(from, to)).filter(({ client }) => accounts.has(client));
    const leases = requests.filter(({ resource }) => resource === 'leases').length;
    figures.push(
      {
        id: 'idle.requests',
        unit: 'requests/min',
        summary: summarize([(requests.length - leases) / minutes]),
      },
      { id: 'idle.leases', unit: 'requests/min', summary: summarize([leases / minutes]) },
    );
  }
  notes.push(`Namespaces: ${RELEASE_NAMESPACES.join(', ')}; ${SECONDS} s.`);
  return { bench: 'idle', figures, notes };
}

function programs(processes: readonly Process[]): string {
  return processes
    .map(
      ({ program, pss, private: own }) =>
        `${program} ${(pss / 1024).toFixed(1)} MiB PSS, ${(own / 1024).toFixed(1)} private`,
    )
    .join('; ');
}
