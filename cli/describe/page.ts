/** A page about one VM. Pure: objects in, lines out. */

import type { DiskSpec } from '../../crds/virtual-machine.ts';
import type { CoreEvent, PersistentVolumeClaim } from '../../operator/kube/resources.ts';
import type { StoredOperation, StoredVirtualMachine } from '../../operator/virtual-machine/resources.ts';
import { advice } from './advice.ts';
import { age, since } from './age.ts';
import { field, table } from './layout.ts';

export interface Material {
  readonly vm: StoredVirtualMachine;
  /** Absent: the person may not read them. */
  readonly claims: readonly PersistentVolumeClaim[] | undefined;
  readonly operations: readonly StoredOperation[] | undefined;
  readonly events: readonly CoreEvent[] | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

const RECENT = 10;

export function page(material: Material): string[] {
  return [
    ...head(material),
    ...conditions(material),
    ...restart(material),
    ...disks(material),
    ...networks(material),
    ...operations(material),
    ...events(material),
  ];
}

function head({ vm, now }: Material): string[] {
  const { status, spec, metadata } = vm;
  const namespace = metadata.namespace ?? 'default';
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
  const word =
    ready === undefined
      ? ''
      : { True: ', ready', False: ', not ready', Unknown: ', not known' }[ready.status];
  const forHow = ready === undefined ? '' : ` for ${since(ready.lastTransitionTime, now)}`;
  const deleting =
    metadata.deletionTimestamp === undefined
      ? ''
      : `; being deleted for ${since(metadata.deletionTimestamp, now)}`;
  return [
    ...field('Name', metadata.name),
    ...field('Namespace', namespace),
    ...field('Age', since(metadata.creationTimestamp, now)),
    ...field('State', `${status?.phase ?? 'not seen by the operator'}${word}${forHow}${deleting}`),
    ...(ready === undefined ? [] : field('Why', `${ready.reason}: ${ready.message}`)),
    ...advice(vm, namespace === 'default' ? '' : ` -n ${namespace}`).flatMap((line, index) =>
      field(index === 0 ? 'What to do' : '', line),
    ),
    ...field('Run strategy', strategy(vm)),
    ...field('Machine', machine(vm)),
    ...(status?.launcher === undefined ? [] : field('Pod', pod(vm))),
    ...(status?.startup === undefined ? [] : field('Start', startup(vm))),
    ...(status?.lastRun === undefined ? [] : field('Last run', lastRun(vm, now))),
    ...(status?.crashLoop === undefined ? [] : field('Failures', failures(vm, now))),
    ...(spec.kernel === undefined ? [] : field('Kernel', `${spec.kernel.path} of ${spec.kernel.image}`)),
  ];
}

function strategy({ spec, status }: StoredVirtualMachine): string {
  const power = status?.power;
  const held = power?.state === 'Stopped' && power.operation !== undefined;
  return `${spec.runStrategy ?? 'Always'}${held ? `; held off by operation ${power.operation}` : ''}`;
}

function machine({ spec, status }: StoredVirtualMachine): string {
  const resolved = status?.resolved;
  const { sockets = 1, cores = 1, threads = 1 } = spec.cpu ?? {};
  const cpus = resolved?.vcpus ?? sockets * cores * threads;
  return [
    `${cpus} CPU${cpus === 1 ? '' : 's'}${resolved?.cpuModel === undefined ? '' : ` (${resolved.cpuModel})`}`,
    `${resolved?.memory ?? spec.memory.size} memory${resolved?.memoryOverhead === undefined ? '' : ` (and ${resolved.memoryOverhead} booked for QEMU)`}`,
    resolved?.machineType ?? spec.machine?.type ?? 'q35',
    resolved?.firmware ?? spec.firmware?.type ?? 'BIOS',
    ...(resolved?.acceleration === undefined ? [] : [resolved.acceleration]),
  ].join(', ');
}

function pod({ status }: StoredVirtualMachine): string {
  const { podName, node, incarnation, qemuVersion } = status?.launcher ?? {};
  return [
    podName ?? '-',
    ...(node === undefined ? [] : [`on node ${node}`]),
    ...(incarnation === undefined ? [] : [`run ${incarnation}`]),
    ...(qemuVersion === undefined ? [] : [`QEMU ${qemuVersion}`]),
  ].join(', ');
}

/** The stages of the last start, each by its distance from the first. */
function startup({ status }: StoredVirtualMachine): string {
  const { createdAt, scheduledAt, machineReadyAt, guestUpAt } = status?.startup ?? {};
  if (createdAt === undefined) return '-';
  const after = (name: string, at: string | undefined): string[] =>
    at === undefined
      ? []
      : [`${name} after ${((Date.parse(at) - Date.parse(createdAt)) / 1000).toFixed(1)} s`];
  return [
    createdAt,
    ...after('scheduled', scheduledAt),
    ...after('machine ready', machineReadyAt),
    ...after('guest up', guestUpAt),
  ].join(', ');
}

function lastRun({ status }: StoredVirtualMachine, now: number): string {
  const run = status?.lastRun;
  return run === undefined
    ? ''
    : `run ${run.incarnation} ended ${since(run.finishedAt, now)} ago: ${run.result}: ${run.message}`;
}

function failures({ status }: StoredVirtualMachine, now: number): string {
  const loop = status?.crashLoop;
  if (loop === undefined) return '';
  const left = Date.parse(loop.retryAt) - now;
  return `${loop.failures} in a row; ${left > 0 ? `next start in ${age(left)}` : 'the next start was tried'}`;
}

function conditions({ vm, now }: Material): string[] {
  return table(
    'Conditions',
    ['TYPE', 'STATUS', 'FOR', 'REASON', 'MESSAGE'],
    (vm.status?.conditions ?? []).map((each) => [
      each.type,
      each.status,
      since(each.lastTransitionTime, now),
      each.reason,
      each.message,
    ]),
  );
}

function restart({ vm }: Material): string[] {
  return table(
    'Changes that wait for a restart',
    ['FIELD', 'RUNNING', 'WANTED'],
    (vm.status?.restartRequired ?? []).map((each) => [each.field, each.running, each.wanted]),
  );
}

type SeenDisk = NonNullable<NonNullable<StoredVirtualMachine['status']>['disks']>[number];

/** Nothing of a disk that is where disks are. */
function attachmentOf(attachment: SeenDisk['attachment']): string | undefined {
  if (attachment === undefined || attachment.state === 'InPod') return undefined;
  const { state, podName, message } = attachment;
  return `${state}${podName === undefined ? '' : ` through ${podName}`}${message === undefined ? '' : `: ${message}`}`;
}

function disks({ vm, claims }: Material): string[] {
  const { spec, status } = vm;
  return table(
    'Disks',
    ['NAME', 'DEVICE', 'SOURCE', 'CLAIM', 'CLASS', 'CAPACITY', 'FORMAT', 'NOW'],
    (spec.disks ?? []).map((disk) => {
      const seen = status?.disks?.find((each) => each.name === disk.name);
      const name = seen?.claimName ?? disk.source?.claim?.name;
      const claim = claims?.find((each) => each.metadata.name === name);
      return [
        disk.name,
        disk.device ?? 'disk',
        sourceOf(disk.source),
        name === undefined ? '-' : `${name}${claimState(claims, claim)}`,
        claim?.spec?.storageClassName ?? '-',
        seen?.capacity ?? claim?.status?.capacity?.storage ?? disk.claim?.size ?? '-',
        seen?.format ?? '-',
        [attachmentOf(seen?.attachment), seen?.media, seen?.limits, seen?.problem]
          .filter((each) => each !== undefined)
          .join('; ') || '-',
      ];
    }),
  );
}

function sourceOf(source: DiskSpec['source']): string {
  if (source === undefined) return 'none';
  if (source.containerImage) return `image ${source.containerImage.image}`;
  if (source.image) return `vmimg ${source.image.name}`;
  return source.claim ? 'claim' : 'blank';
}

function claimState(claims: Material['claims'], claim: PersistentVolumeClaim | undefined): string {
  if (claims === undefined) return '';
  return ` (${claim === undefined ? 'missing' : (claim.status?.phase ?? 'Pending')})`;
}

function networks({ vm }: Material): string[] {
  const { spec, status } = vm;
  return table(
    'Networks',
    ['NAME', 'MODEL', 'MAC', 'IPS', 'PORTS'],
    (spec.networks ?? []).map((network) => {
      const seen = status?.interfaces?.find((each) => each.name === network.name);
      return [
        network.name,
        network.model ?? 'virtio',
        seen?.mac ?? network.macAddress ?? '-',
        seen?.ips?.join(', ') || '-',
        network.ports?.map((port) => `${port.name} ${port.port}/${port.protocol ?? 'TCP'}`).join(', ') || '-',
      ];
    }),
  );
}

function operations({ operations: list, now }: Material): string[] {
  if (list === undefined) return ['', 'Operations:   (you may not list virtualmachineoperations here)'];
  const newest = [...list].sort((a, b) => timeOf(b) - timeOf(a)).slice(0, RECENT);
  return table(
    'Operations',
    ['NAME', 'TYPE', 'PHASE', 'AGE', 'MESSAGE'],
    newest.map((each) => [
      each.metadata.name,
      `${each.spec.type}${each.spec.force ? ' (force)' : ''}`,
      each.status?.phase ?? 'not seen by the operator',
      since(each.metadata.creationTimestamp, now),
      each.status?.message ?? '',
    ]),
  );
}

function timeOf(operation: StoredOperation): number {
  return Date.parse(operation.metadata.creationTimestamp ?? '') || 0;
}

function events({ events: list, now }: Material): string[] {
  if (list === undefined) return ['', 'Events:       (you may not list events here)'];
  const seenAt = (event: CoreEvent): string | undefined =>
    event.series?.lastObservedTime ??
    event.lastTimestamp ??
    event.eventTime ??
    event.metadata.creationTimestamp;
  const newest = [...list]
    .sort((a, b) => Date.parse(seenAt(b) ?? '') - Date.parse(seenAt(a) ?? ''))
    .slice(0, RECENT);
  return table(
    'Events',
    ['AGE', 'TYPE', 'REASON', 'MESSAGE'],
    newest.map((event) => {
      const count = event.series?.count ?? event.count ?? 1;
      return [
        `${since(seenAt(event), now)}${count > 1 ? ` (${count} times)` : ''}`,
        event.type ?? '',
        event.reason ?? '',
        event.message ?? '',
      ];
    }),
  );
}
