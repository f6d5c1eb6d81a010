/** QEMU's own names for the front ends of disks. */
import type { MachineDisk } from '../../../crds/machine-description.ts';

/** Id of the device in commands about its drive. A virtio disk's drive belongs to the device behind its PCI front. */
export function driveId({ bus, name }: Pick<MachineDisk, 'bus' | 'name'>): string {
  return bus === 'virtio' ? `/machine/peripheral/disk-${name}/virtio-backend` : `disk-${name}`;
}
