/** Devices that every machine has besides disks and networks. */
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { Host } from './host.ts';
import { BALLOON_SLOT, hotplugPlace, RNG_SLOT, SERIAL_SLOT, slot } from './pci.ts';
import { json, keyval } from './quoting.ts';

/** QEMU's ids of what the launcher asks for by name. */
export const DEVICE_ID = { agentPort: 'guest-agent', guestPort: 'guest-port' } as const;

/** Names of the virtio-serial ports in the guest: /dev/virtio-ports/<name>. */
const GUEST_AGENT_PORT = 'org.qemu.guest_agent.0';
const GUEST_PORT = 'io.vmstead.guest.0';

export function serial({ run }: Host): string[] {
  return [
    '-chardev',
    keyval('socket', {
      id: 'console',
      path: run.console,
      server: true,
      wait: false,
      logfile: run.serialLog,
      logappend: true,
    }),
    '-device',
    json({ driver: 'isa-serial', id: 'console', chardev: 'console', index: 0 }),
  ];
}

export function virtioSerial({ run }: Host): string[] {
  const port = (nr: number, id: string, path: string, name: string): string[] => [
    '-chardev',
    keyval('socket', { id, path, server: true, wait: false }),
    '-device',
    json({ driver: 'virtserialport', bus: 'virtio-serial.0', nr, id, chardev: id, name }),
  ];
  return [
    '-device',
    json({ driver: 'virtio-serial-pci', id: 'virtio-serial', max_ports: 4, ...slot(SERIAL_SLOT) }),
    ...port(1, DEVICE_ID.agentPort, run.guestAgent, GUEST_AGENT_PORT),
    ...port(2, DEVICE_ID.guestPort, run.guestPort, GUEST_PORT),
  ];
}

export function rng(): string[] {
  return [
    '-object',
    json({ 'qom-type': 'rng-random', id: 'entropy', filename: '/dev/urandom' }),
    '-device',
    json({ driver: 'virtio-rng-pci', id: 'rng', rng: 'entropy', ...slot(RNG_SLOT) }),
  ];
}

/** Gives pages that the guest does not use back to the node without anybody asking. */
export function balloon(): string[] {
  return [
    '-device',
    json({
      driver: 'virtio-balloon-pci',
      id: 'balloon',
      'free-page-reporting': true,
      'deflate-on-oom': true,
      ...slot(BALLOON_SLOT),
    }),
  ];
}

export function pvpanic(): string[] {
  return ['-device', json({ driver: 'pvpanic', id: 'pvpanic' })];
}

/** Empty root ports: a device that comes later needs one, and none can be added to a running machine. */
export function hotplugPorts({ hotplugPorts }: MachineDescription): string[] {
  return Array.from({ length: hotplugPorts }, (_, index) => [
    '-device',
    json({
      driver: 'pcie-root-port',
      id: `hotplug${index}`,
      chassis: index + 1,
      ...hotplugPlace(index),
    }),
  ]).flat();
}
