/**
 * Places on the root bus. They are fixed, so that a guest's names for its devices (enp0s8, by-path links)
 * do not move when another device is added. 0x00 is the host bridge and 0x1f the chipset's own.
 */
import { InvalidMachine } from './invalid-machine.ts';

const ROOT_BUS = 'pcie.0';
const HOTPLUG_SLOT = 0x02;
const HOTPLUG_SLOTS = 2;
export const SCSI_SLOT = 0x04;
export const SERIAL_SLOT = 0x05;
export const RNG_SLOT = 0x06;
export const BALLOON_SLOT = 0x07;
const NETWORK_SLOT = 0x08;
const NETWORK_SLOTS = 8;
const DISK_SLOT = 0x10;
const DISK_SLOTS = 5;
export const IDE_SLOT = 0x15;
export const USB_SLOT = 0x16;

interface Place {
  bus: string;
  addr: string;
  multifunction?: boolean;
}

export function slot(number: number): Place {
  return { bus: ROOT_BUS, addr: `0x${number.toString(16)}` };
}

function functionOf(first: number, slots: number, index: number, what: string): Place {
  if (index >= slots * 8) throw new InvalidMachine(`a machine has room for ${slots * 8} ${what}`);
  const addr = `0x${(first + (index >> 3)).toString(16)}.0x${(index & 7).toString(16)}`;
  // Function 0 says that there are others; a guest looks for them only then.
  return { bus: ROOT_BUS, addr, ...((index & 7) === 0 ? { multifunction: true } : {}) };
}

export function hotplugPlace(index: number): Place {
  return functionOf(HOTPLUG_SLOT, HOTPLUG_SLOTS, index, 'hotplug ports');
}

export function diskPlace(index: number): Place {
  return functionOf(DISK_SLOT, DISK_SLOTS, index, 'virtio and nvme disks');
}

export function networkPlace(index: number): Place {
  if (index >= NETWORK_SLOTS)
    throw new InvalidMachine(`a machine has room for ${NETWORK_SLOTS} network cards`);
  return slot(NETWORK_SLOT + index);
}
