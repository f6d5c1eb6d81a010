/** Network cards on QEMU's user network, with the pod's ports forwarded to the guest's. */
import type { MachineDescription, MachineNetwork } from '../../crds/machine-description.ts';
import type { Host } from './host.ts';
import { networkPlace } from './pci.ts';
import { json } from './quoting.ts';

const DRIVER: Record<MachineNetwork['model'], string> = { virtio: 'virtio-net-pci', e1000e: 'e1000e' };

/** A forward to the address that DHCP gave the guest: in a pod from the same port of all its IPv4 addresses. */
function forward({ protocol, port }: MachineNetwork['ports'][number], { forwardFrom }: Host): string {
  const address = forwardFrom?.address ?? '0.0.0.0';
  const from = forwardFrom?.ports.get(port) ?? port;
  return `${protocol.toLowerCase()}:${address}:${from}-:${port}`;
}

export function netdev({ networks, hostname }: MachineDescription, host: Host): string[] {
  return networks.flatMap(({ ports }, index) => [
    '-netdev',
    json({
      type: 'user',
      id: `net${index}`,
      hostname,
      // The way in is IPv4 only, and so is the way out: QEMU would lend a guest the pod's IPv6.
      ipv6: false,
      ...(ports.length === 0 ? {} : { hostfwd: ports.map((port) => ({ str: forward(port, host) })) }),
    }),
  ]);
}

export function netDevice({ networks }: MachineDescription): string[] {
  return networks.flatMap(({ name, model, mac }, index) => [
    '-device',
    json({
      driver: DRIVER[model],
      id: `network-${name}`,
      netdev: `net${index}`,
      mac,
      // No network boot: without its ROM the firmware does not try, and starts sooner.
      romfile: '',
      ...networkPlace(index),
    }),
  ]);
}
