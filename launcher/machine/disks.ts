/** Disks: the block graph (back end) and the device that the guest sees (front end), never merged. */
import type { MachineDescription, MachineDisk } from '../../crds/machine-description.ts';
import type { Host, PreparedDisk } from './host.ts';
import { InvalidMachine } from './invalid-machine.ts';
import { diskPlace, SCSI_SLOT, slot } from './pci.ts';
import { type JsonOptions, json } from './quoting.ts';

/** Ports of the chipset's own AHCI controller. */
const SATA_PORTS = 6;

/** The node that a disk's device hangs on. QEMU bounds node names to 31 characters, so names are no part of them. */
function diskNode(index: number): string {
  return `disk${index}`;
}

/** Index of the disk that a block node belongs to, or undefined for the seed and the firmware. */
export function diskIndexOfNode(node: string): number | undefined {
  const match = /^disk([0-9]+)(?:-|$)/.exec(node);
  return match === null ? undefined : Number(match[1]);
}

type Storage = Pick<PreparedDisk, 'driver' | 'filename' | 'direct'>;

function protocolNode(node: string, storage: Storage, aio: Host['aio'], readOnly: boolean): JsonOptions {
  return {
    driver: storage.driver,
    'node-name': node,
    filename: storage.filename,
    'read-only': readOnly,
    // The second wall against a second QEMU; on a device it is the launcher's O_EXCL descriptor that counts.
    locking: 'on',
    cache: { direct: storage.direct },
    // Linux AIO is asynchronous on O_DIRECT descriptors only.
    aio: aio === 'native' && !storage.direct ? 'threads' : aio,
    discard: 'unmap',
  };
}

/** What every node on top has: discards reach the storage, and zeroes written become holes. */
function top(readOnly: boolean): JsonOptions {
  return readOnly
    ? { 'read-only': true }
    : { 'read-only': false, discard: 'unmap', 'detect-zeroes': 'unmap' };
}

function nodes(disk: PreparedDisk, index: number, aio: Host['aio']): JsonOptions[] {
  const node = diskNode(index);
  if (disk.overlay !== undefined) {
    const { base, maxBytes } = disk.overlay;
    const baseFile = protocolNode(`${node}-base-file`, base, aio, true);
    return [
      baseFile,
      { driver: base.format, 'node-name': `${node}-base`, file: `${node}-base-file`, 'read-only': true },
      protocolNode(`${node}-file`, disk, aio, false),
      // A raw node of fixed size: the overlay cannot outgrow the volume that it lies on.
      { driver: 'raw', 'node-name': `${node}-bound`, file: `${node}-file`, size: maxBytes },
      { driver: 'qcow2', 'node-name': node, file: `${node}-bound`, backing: `${node}-base`, ...top(false) },
    ];
  }
  if (disk.format === 'raw') {
    return [{ ...protocolNode(node, disk, aio, disk.readOnly), ...top(disk.readOnly) }];
  }
  return [
    protocolNode(`${node}-file`, disk, aio, disk.readOnly),
    { driver: disk.format, 'node-name': node, file: `${node}-file`, ...top(disk.readOnly) },
  ];
}

export function blockdev({ disks, seed, aio }: Host): string[] {
  const all = disks.flatMap((disk, index) => nodes(disk, index, aio));
  if (seed !== undefined) {
    all.push({ driver: 'file', 'node-name': 'seed', filename: seed, 'read-only': true });
  }
  return all.flatMap((node) => ['-blockdev', json(node)]);
}

/** Errors stop the guest: it goes on where it was when there is room again, and loses nothing. */
const ON_ERROR = { werror: 'stop', rerror: 'stop' } as const;

function virtioDevice(disk: MachineDisk, index: number, place: number): JsonOptions {
  return {
    driver: 'virtio-blk-pci',
    id: `disk-${disk.name}`,
    drive: diskNode(index),
    serial: disk.serial,
    bootindex: disk.bootIndex,
    'write-cache': 'on',
    ...ON_ERROR,
    ...diskPlace(place),
  };
}

function scsiDevice(disk: MachineDisk, index: number, lun: number): JsonOptions {
  return {
    driver: disk.device === 'cdrom' ? 'scsi-cd' : 'scsi-hd',
    id: `disk-${disk.name}`,
    drive: diskNode(index),
    bus: 'scsi.0',
    'scsi-id': lun,
    serial: disk.serial,
    bootindex: disk.bootIndex,
    ...(disk.device === 'cdrom' ? {} : { 'write-cache': 'on' }),
    ...ON_ERROR,
  };
}

function sataDevice(disk: MachineDisk, index: number, port: number): JsonOptions {
  if (port >= SATA_PORTS) throw new InvalidMachine(`a machine has room for ${SATA_PORTS} sata disks`);
  return {
    driver: disk.device === 'cdrom' ? 'ide-cd' : 'ide-hd',
    id: `disk-${disk.name}`,
    drive: diskNode(index),
    bus: `ide.${port}`,
    serial: disk.serial,
    bootindex: disk.bootIndex,
    ...(disk.device === 'cdrom' ? {} : { 'write-cache': 'on' }),
    ...ON_ERROR,
  };
}

const DEVICE: Record<MachineDisk['bus'], (disk: MachineDisk, index: number, place: number) => JsonOptions> = {
  virtio: virtioDevice,
  scsi: scsiDevice,
  sata: sataDevice,
};

export function diskDevice({ disks }: MachineDescription, { seed }: Host): string[] {
  const places = { virtio: 0, scsi: 0, sata: 0 };
  const devices = disks.map((disk, index) => DEVICE[disk.bus](disk, index, places[disk.bus]++));
  if (places.scsi > 0) devices.unshift({ driver: 'virtio-scsi-pci', id: 'scsi', ...slot(SCSI_SLOT) });
  if (seed !== undefined) {
    // A virtio disk: cloud-init finds its data by the file system's label, and every cloud kernel has the driver.
    devices.push({
      driver: 'virtio-blk-pci',
      id: 'seed',
      drive: 'seed',
      serial: 'cloud-init',
      ...diskPlace(places.virtio),
    });
  }
  return devices.flatMap((device) => ['-device', json(device)]);
}
