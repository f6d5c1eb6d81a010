/**
 * The metrics of one VM, with the names and labels that users of KubeVirt know (kubevirt_vmi_…) under our own
 * prefix. Source: https://kubevirt.io/monitoring/metrics.html
 */
import { Counter, Gauge, Registry } from 'prom-client';
import { machineState } from '../../crds/channel.ts';
import type { BlockDeviceStats } from '../qmp/commands.ts';
import type { Vm } from '../vm/vm.ts';
import { collect, type NetworkCounters } from './collect.ts';

type BlockKey = keyof BlockDeviceStats;

const STORAGE: readonly [name: string, help: string, key: BlockKey, scale: number][] = [
  ['read_traffic_bytes_total', 'Bytes read from the disk', 'rd_bytes', 1],
  ['write_traffic_bytes_total', 'Bytes written to the disk', 'wr_bytes', 1],
  ['iops_read_total', 'Read operations', 'rd_operations', 1],
  ['iops_write_total', 'Write operations', 'wr_operations', 1],
  ['flush_requests_total', 'Flush operations', 'flush_operations', 1],
  ['read_times_seconds_total', 'Time spent on reads', 'rd_total_time_ns', 1e-9],
  ['write_times_seconds_total', 'Time spent on writes', 'wr_total_time_ns', 1e-9],
  ['flush_times_seconds_total', 'Time spent on flushes', 'flush_total_time_ns', 1e-9],
];

const NETWORK: readonly [name: string, help: string, key: keyof NetworkCounters][] = [
  ['receive_bytes_total', 'Bytes that came in over the pod network', 'receiveBytes'],
  ['receive_packets_total', 'Packets that came in over the pod network', 'receivePackets'],
  ['receive_errors_total', 'Errors on receiving', 'receiveErrors'],
  ['receive_packets_dropped_total', 'Packets dropped on receiving', 'receiveDropped'],
  ['transmit_bytes_total', 'Bytes that went out over the pod network', 'transmitBytes'],
  ['transmit_packets_total', 'Packets that went out over the pod network', 'transmitPackets'],
  ['transmit_errors_total', 'Errors on sending', 'transmitErrors'],
  ['transmit_packets_dropped_total', 'Packets dropped on sending', 'transmitDropped'],
];

const MIB = 1024 * 1024;

/** The text of a scrape, and its content type. */
export interface VmMetrics {
  contentType: string;
  text(): Promise<string>;
}

export function vmMetrics(vm: Vm): VmMetrics {
  const registry = new Registry();
  const { description, life } = vm.options;
  registry.setDefaultLabels({ namespace: description.vm.namespace, name: description.vm.name });
  const options = { registers: [registry] };
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name: `vmstead_vm_${name}`, help: `${help}.`, labelNames, ...options });
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({ name: `vmstead_vm_${name}`, help: `${help}.`, labelNames, ...options });
  /** Counters come as totals: set, not added to. */
  const total = <L extends string>(metric: Counter<L>, labels: Record<L, string>, value: number) => {
    metric.remove(labels);
    metric.inc(labels, value);
  };

  const info = gauge('info', 'What the VM runs on; always 1', [
    'accelerator',
    'machine_type',
    'qemu_version',
  ] as const);
  const state = gauge('state', 'Whether the VM is in this state', ['state'] as const);
  const vcpu = counter('vcpu_seconds_total', 'CPU time that a virtual CPU used', ['id'] as const);
  const domain = gauge('memory_domain_bytes', 'Memory that the guest was given');
  const balloon = gauge('memory_actual_balloon_bytes', 'Memory that the balloon leaves to the guest');
  const resident = gauge('memory_resident_bytes', 'Resident memory of QEMU');
  const restarts = gauge('launcher_restarts', 'Times that the launcher was started again in this pod');
  const stage = gauge('startup_stage_timestamp_seconds', 'When the start reached a stage', [
    'stage',
  ] as const);
  const storage = STORAGE.map(([name, help, key, scale]) => ({
    metric: counter(`storage_${name}`, help, ['drive'] as const),
    key,
    scale,
  }));
  const network = NETWORK.map(([name, help, key]) => ({
    metric: counter(`network_${name}`, help, ['interface'] as const),
    key,
  }));

  const update = async () => {
    const sample = await collect(vm);
    info.set(
      {
        accelerator: description.accelerator,
        machine_type: description.machineType,
        qemu_version: vm.qemuVersion ?? '',
      },
      1,
    );
    for (const each of machineState.options) state.set({ state: each }, each === vm.state ? 1 : 0);
    for (const [id, seconds] of sample.vcpuSeconds) total(vcpu, { id: String(id) }, seconds);
    domain.set(description.memoryMiB * MIB);
    if (sample.balloonBytes !== undefined) balloon.set(sample.balloonBytes);
    if (sample.residentBytes !== undefined) resident.set(sample.residentBytes);
    restarts.set(life.record.restarts);
    const stages = { machine_ready: life.record.machineReadyAt, guest_up: life.record.guestUpAt };
    for (const [name, at] of Object.entries(stages)) {
      if (at !== undefined) stage.set({ stage: name }, Date.parse(at) / 1000);
    }
    for (const { metric, key, scale } of storage) {
      for (const [drive, stats] of sample.disks) total(metric, { drive }, stats[key] * scale);
    }
    for (const { metric, key } of network) {
      for (const [name, counters] of sample.networks) total(metric, { interface: name }, counters[key]);
    }
  };
  return {
    contentType: registry.contentType,
    async text() {
      await update();
      return await registry.metrics();
    },
  };
}
