/** What the launcher tells the operator: all of it, each time. */
import type { LauncherReport } from '../../crds/channel.ts';
import type { AgentFacts } from '../guest/agent.ts';
import type { Snapshots } from '../snapshot/snapshots.ts';
import type { Bases } from './flatten.ts';
import type { LiveDisks } from './live/live-disks.ts';
import type { Vm } from './vm.ts';

/** The channel bounds its texts. */
const LONGEST_TEXT = 1024;

export function report(
  vm: Vm,
  agent: AgentFacts,
  live: LiveDisks,
  bases: Bases,
  snapshots: Snapshots,
): LauncherReport {
  const { description, life } = vm.options;
  const { machineReadyAt, guestUpAt, guestReady, restored } = life.record;
  const message = vm.message();
  const ioError = vm.state === 'IoError' ? vm.ioError() : undefined;
  return {
    state: vm.state,
    ...(message === undefined ? {} : { message: message.slice(0, LONGEST_TEXT) }),
    ...(ioError === undefined ? {} : { ioError }),
    accelerator: description.accelerator,
    machineType: description.machineType,
    cpuModel: description.cpu.model,
    ...(vm.qemuVersion === undefined ? {} : { qemuVersion: vm.qemuVersion }),
    ...(guestReady === undefined ? {} : { guestReady }),
    agent: {
      connected: agent.connected,
      ...(agent.version === undefined ? {} : { version: agent.version }),
      ...(agent.osName === undefined ? {} : { osName: agent.osName }),
    },
    interfaces: description.networks.map(({ name, mac }) => {
      const ips = agent.addresses.get(mac);
      return { name, mac, ...(ips === undefined || ips.length === 0 ? { ips: [] } : { ips }) };
    }),
    disks: live.reports().map((disk) => {
      const base = bases.get(disk.name);
      return base === undefined ? disk : { ...disk, base };
    }),
    revision: live.revision,
    snapshots: snapshots.report(),
    ...(restored === undefined ? {} : { restored }),
    ...(machineReadyAt === undefined ? {} : { machineReadyAt }),
    ...(guestUpAt === undefined ? {} : { guestUpAt }),
  };
}
