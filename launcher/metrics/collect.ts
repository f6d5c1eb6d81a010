/** What /metrics shows, gathered when it is asked for: from QEMU's monitor and from /proc. */
import { readFileSync } from 'node:fs';
import { diskIndexOfNode } from '../machine/disks.ts';
import type { BlockDeviceStats } from '../qmp/commands.ts';
import { cpuSeconds, residentBytes } from '../vm/process.ts';
import type { Vm } from '../vm/vm.ts';

export interface NetworkCounters {
  receiveBytes: number;
  receivePackets: number;
  receiveErrors: number;
  receiveDropped: number;
  transmitBytes: number;
  transmitPackets: number;
  transmitErrors: number;
  transmitDropped: number;
}

export interface Sample {
  vcpuSeconds: Map<number, number>;
  residentBytes: number | undefined;
  balloonBytes: number | undefined;
  disks: Map<string, BlockDeviceStats>;
  networks: Map<string, NetworkCounters>;
}

/** A QEMU that does not answer leaves out what it would have said; the scrape goes on. */
export async function collect(vm: Vm): Promise<Sample> {
  const { description } = vm.options;
  const [cpus, block, balloon] = await Promise.allSettled([
    vm.qmp?.execute('query-cpus-fast', {}, { timeout: 2000 }),
    vm.qmp?.execute('query-blockstats', {}, { timeout: 2000 }),
    vm.qmp?.execute('query-balloon', {}, { timeout: 2000 }),
  ]);
  const answer = <T>(settled: PromiseSettledResult<T>) =>
    settled.status === 'fulfilled' ? settled.value : undefined;
  const pid = vm.qemu?.pid;
  const vcpuSeconds = new Map<number, number>();
  for (const { 'cpu-index': index, 'thread-id': thread } of answer(cpus) ?? []) {
    const seconds = pid === undefined ? undefined : cpuSeconds(pid, thread);
    if (seconds !== undefined) vcpuSeconds.set(index, seconds);
  }
  const disks = new Map<string, BlockDeviceStats>();
  for (const { 'node-name': node, stats } of answer(block) ?? []) {
    const disk = description.disks[diskIndexOfNode(node ?? '') ?? -1];
    if (disk !== undefined) disks.set(disk.name, stats);
  }
  const networks = new Map<string, NetworkCounters>();
  const [first] = description.networks;
  const counters = podInterface();
  // The user network has no counters; the pod network's are its traffic, told from the guest's side.
  if (first !== undefined && counters !== undefined) networks.set(first.name, counters);
  return {
    vcpuSeconds,
    residentBytes: pid === undefined ? undefined : residentBytes(pid),
    balloonBytes: answer(balloon)?.actual,
    disks,
    networks,
  };
}

/** Counters of the pod's first interface that is not loopback: what QEMU's user network sends and gets. */
function podInterface(): NetworkCounters | undefined {
  try {
    return parseNetDev(readFileSync('/proc/net/dev', 'utf8'));
  } catch {
    return undefined;
  }
}

/** Parses /proc/net/dev; see proc(5). */
export function parseNetDev(text: string): NetworkCounters | undefined {
  for (const line of text.split('\n').slice(2)) {
    const [name, rest] = line.split(':');
    if (name === undefined || rest === undefined || name.trim() === 'lo') continue;
    const [rxBytes, rxPackets, rxErrors, rxDropped, , , , , txBytes, txPackets, txErrors, txDropped] = rest
      .trim()
      .split(/\s+/)
      .map(Number) as number[];
    return {
      receiveBytes: rxBytes ?? 0,
      receivePackets: rxPackets ?? 0,
      receiveErrors: rxErrors ?? 0,
      receiveDropped: rxDropped ?? 0,
      transmitBytes: txBytes ?? 0,
      transmitPackets: txPackets ?? 0,
      transmitErrors: txErrors ?? 0,
      transmitDropped: txDropped ?? 0,
    };
  }
  return undefined;
}
