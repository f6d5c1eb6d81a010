/** Machine description and host → the arguments of QEMU. Pure: the same input gives the same machine. */
import type { MachineDescription } from '../../crds/machine-description.ts';
import { accel, cpu, fixed, kernel, machine, memory, mon, name, pidfile, smbios, smp, uuid } from './base.ts';
import { balloon, hotplugPorts, pvpanic, rng, serial, virtioSerial } from './devices.ts';
import { blockdev, diskDevice, ioThreads } from './disks.ts';
import { pflash } from './firmware.ts';
import type { Host } from './host.ts';
import { netDevice, netdev } from './networks.ts';

/** Throws InvalidMachine for what no QEMU can be started with. */
export function commandLine(description: MachineDescription, host: Host): string[] {
  return [
    ...name(description),
    ...fixed(),
    ...uuid(description),
    ...smbios(description),
    ...machine(description),
    ...accel(description),
    ...cpu(description),
    ...smp(description),
    ...memory(description),
    ...pflash(description, host),
    ...kernel(description),
    ...pidfile(host),
    ...mon(host),
    ...hotplugPorts(description),
    ...ioThreads(description),
    ...blockdev(host),
    ...diskDevice(description, host),
    ...netdev(description, host),
    ...netDevice(description),
    ...serial(host),
    ...virtioSerial(host),
    ...rng(),
    ...balloon(),
    ...pvpanic(),
    ...incoming(host),
  ];
}

/** Nothing runs before the memory is there and the launcher says so. */
function incoming(host: Host): string[] {
  return host.incoming ? ['-S', '-incoming', 'defer'] : [];
}
