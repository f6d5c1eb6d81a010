/** Disks: the block graph (back end) and the device that the guest sees (front end), never merged. */
import type { MachineDescription, MachineDisk } from '../../crds/machine-description.ts';
import type { AsyncIo, BaseStorage, Host, PreparedDisk } from './host.ts';
import { InvalidMachine } from './invalid-machine.ts';
import { frozenNodes } from './layers.ts';
import { diskPlace, IDE_SLOT, SCSI_SLOT, slot, USB_SLOT } from './pci.ts';
import { type JsonOptions, json } from './quoting.ts';

/** Ports of the chipset's own AHCI controller. */
const SATA_PORTS = 6;
/** Two channels with two drives each. */
const IDE_DRIVES = 4;
const USB_PORTS = 8;
/** More queues than this cost memory and win nothing: each has its own ring and interrupt. */
const MOST_QUEUES = 16;

/** The node that a disk's device hangs on. QEMU bounds node names to 31 characters, so names are no part of them. */
export function diskNode(index: number): string {
  return `disk${index}`;
}

/** Index of the disk that a block node belongs to, or undefined for the seed and the firmware. */
export function diskIndexOfNode(node: string): number | undefined {
  const match = /^disk([0-9]+)(?:-|$)/.exec(node);
  return match === null ? undefined : Number(match[1]);
}

type Storage = Pick<PreparedDisk, 'driver' | 'filename' | 'direct'>;
/** Formats whose header can name another file: it is not opened. */
const CAN_HAVE_BACKING = new Set(['qcow2', 'vmdk']);

function protocolNode(node: string, storage: Storage, aio: AsyncIo, readOnly: boolean): JsonOptions {
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
function top({ readOnly, preallocated }: Pick<PreparedDisk, 'readOnly' | 'preallocated'>): JsonOptions {
  if (readOnly) return { 'read-only': true };
  return preallocated
    ? { 'read-only': false, discard: 'ignore' }
    : { 'read-only': false, discard: 'unmap', 'detect-zeroes': 'unmap' };
}

/** An image that is only read, as `node`. */
export function imageNodes(node: string, image: BaseStorage, aio: AsyncIo): JsonOptions[] {
  const { format, size } = image;
  const file = protocolNode(`${node}-file`, image, aio, true);
  const backing = CAN_HAVE_BACKING.has(format) ? { backing: null } : {};
  const whole = { driver: format, 'node-name': node, 'read-only': true, ...backing };
  if (size === undefined) return [file, { ...whole, file: `${node}-file` }];
  if (format === 'raw') return [file, { ...whole, file: `${node}-file`, size }];
  const part = { driver: 'raw', 'node-name': `${node}-part`, file: `${node}-file`, size, 'read-only': true };
  return [file, part, { ...whole, file: `${node}-part` }];
}

/** The node of the image below a disk, and those that may be under it, from the top. */
export function baseNodes(index: number): readonly [string, ...string[]] {
  const node = `${diskNode(index)}-base`;
  return [node, `${node}-part`, `${node}-file`];
}

function nodes(disk: PreparedDisk, index: number): JsonOptions[] {
  const node = diskNode(index);
  const { aio } = disk;
  if (disk.overlay !== undefined) {
    const { base, maxBytes } = disk.overlay;
    return [
      ...imageNodes(`${node}-base`, base, aio),
      protocolNode(`${node}-file`, disk, aio, false),
      // A raw node of fixed size: the overlay cannot outgrow the volume that it lies on.
      { driver: 'raw', 'node-name': `${node}-bound`, file: `${node}-file`, size: maxBytes },
      { driver: 'qcow2', 'node-name': node, file: `${node}-bound`, backing: `${node}-base`, ...top(disk) },
    ];
  }
  if (disk.layers !== undefined) {
    const base = disk.base === undefined ? null : baseNodes(index)[0];
    const frozen = frozenNodes(node, disk.layers, aio, base);
    return [
      ...(base === null || disk.base === undefined ? [] : imageNodes(base, disk.base, aio)),
      ...frozen.nodes,
      protocolNode(`${node}-file`, disk, aio, false),
      { driver: 'qcow2', 'node-name': node, file: `${node}-file`, backing: frozen.top, ...top(disk) },
    ];
  }
  if (disk.base !== undefined) {
    const [base] = baseNodes(index);
    return [
      ...imageNodes(base, disk.base, aio),
      protocolNode(`${node}-file`, disk, aio, disk.readOnly),
      { driver: 'qcow2', 'node-name': node, file: `${node}-file`, backing: base, ...top(disk) },
    ];
  }
  if (disk.isImage) return imageNodes(node, disk, aio);
  if (disk.format === 'raw') {
    return [{ ...protocolNode(node, disk, aio, disk.readOnly), ...top(disk) }];
  }
  return [
    protocolNode(`${node}-file`, disk, aio, disk.readOnly),
    { driver: disk.format, 'node-name': node, file: `${node}-file`, ...top(disk) },
  ];
}

export function blockdev({ disks, seed }: Pick<Host, 'disks' | 'seed'>): string[] {
  const all = disks.flatMap((disk, index) => (disk === null ? [] : nodes(disk, index)));
  if (seed !== undefined) {
    all.push({ driver: 'file', 'node-name': 'seed', filename: seed, 'read-only': true });
  }
  return all.flatMap((node) => ['-blockdev', json(node)]);
}

/** Errors stop the guest: it goes on where it was when there is room again, and loses nothing. */
const ON_ERROR = { werror: 'stop', rerror: 'stop' } as const;

interface Threads {
  vcpus: number;
  /** As a property of a virtio controller. */
  io: JsonOptions;
}

type Device = (disk: MachineDisk, drive: JsonOptions, place: number, threads: Threads) => JsonOptions[];

const ioThread = (index: number): string => `io${index}`;

export function ioThreads({ ioThreads = 0 }: MachineDescription): string[] {
  return Array.from({ length: ioThreads }, (_, index) => [
    '-object',
    json({ 'qom-type': 'iothread', id: ioThread(index) }),
  ]).flat();
}

/** QEMU deals a controller's queues out to the threads, one after the other; each thread must get one. */
function mapping({ ioThreads = 0 }: MachineDescription): JsonOptions {
  if (ioThreads === 0) return {};
  const threads = Array.from({ length: ioThreads }, (_, index) => ({ iothread: ioThread(index) }));
  return { 'iothread-vq-mapping': threads };
}

/** What drives of every kind have. A writethrough disk tells the guest that it has no cache to flush. */
function hardDisk({ cache }: MachineDisk): JsonOptions {
  return { 'write-cache': cache === 'writethrough' ? 'off' : 'on' };
}

function virtioDevice(
  disk: MachineDisk,
  drive: JsonOptions,
  place: number,
  { vcpus, io }: Threads,
): JsonOptions[] {
  const queues = vcpus > MOST_QUEUES ? { 'num-queues': MOST_QUEUES } : {};
  return [
    {
      driver: 'virtio-blk-pci',
      ...drive,
      ...hardDisk(disk),
      ...ON_ERROR,
      ...queues,
      ...io,
      ...diskPlace(place),
    },
  ];
}

/** A disk that came while the machine runs, in one of the empty ports. */
export function pluggedDisk(
  disk: MachineDisk,
  node: string,
  port: number,
): JsonOptions & { driver: string; id: string } {
  return {
    driver: 'virtio-blk-pci',
    id: `disk-${disk.name}`,
    drive: node,
    serial: disk.serial,
    ...hardDisk(disk),
    ...ON_ERROR,
    bus: `hotplug${port}`,
  };
}

/** It has no way to stop the guest: an error of the storage is told to the guest. */
function nvmeDevice(disk: MachineDisk, drive: JsonOptions, place: number): JsonOptions[] {
  return [{ driver: 'nvme', ...drive, ...hardDisk(disk), ...diskPlace(place) }];
}

/** A disk or CD-ROM on a SCSI bus, of whichever controller. */
function scsiDrive(disk: MachineDisk, drive: JsonOptions, bus: JsonOptions): JsonOptions {
  return disk.device === 'cdrom'
    ? { driver: 'scsi-cd', ...drive, ...bus, ...ON_ERROR }
    : { driver: 'scsi-hd', ...drive, ...bus, ...hardDisk(disk), ...ON_ERROR };
}

function scsiDevice(disk: MachineDisk, drive: JsonOptions, place: number): JsonOptions[] {
  return [scsiDrive(disk, drive, { bus: 'scsi.0', 'scsi-id': place })];
}

function ataDrive(disk: MachineDisk, drive: JsonOptions, bus: JsonOptions): JsonOptions {
  return disk.device === 'cdrom'
    ? { driver: 'ide-cd', ...drive, ...bus, ...ON_ERROR }
    : { driver: 'ide-hd', ...drive, ...bus, ...hardDisk(disk), ...ON_ERROR };
}

function sataDevice(disk: MachineDisk, drive: JsonOptions, place: number): JsonOptions[] {
  if (place >= SATA_PORTS) throw new InvalidMachine(`a machine has room for ${SATA_PORTS} sata disks`);
  return [ataDrive(disk, drive, { bus: `ide.${place}` })];
}

function ideDevice(disk: MachineDisk, drive: JsonOptions, place: number): JsonOptions[] {
  if (place >= IDE_DRIVES) throw new InvalidMachine(`a machine has room for ${IDE_DRIVES} ide disks`);
  return [ataDrive(disk, drive, { bus: `pata.${place >> 1}`, unit: place & 1 })];
}

function usbDevice(disk: MachineDisk, drive: JsonOptions, place: number): JsonOptions[] {
  if (place >= USB_PORTS) throw new InvalidMachine(`a machine has room for ${USB_PORTS} usb disks`);
  const id = `usb-${disk.name}`;
  return [
    { driver: 'usb-bot', id, bus: 'usb.0', port: String(place + 1) },
    scsiDrive(disk, drive, { bus: `${id}.0`, 'scsi-id': 0, lun: 0 }),
  ];
}

const DEVICE: Record<MachineDisk['bus'], Device> = {
  virtio: virtioDevice,
  scsi: scsiDevice,
  sata: sataDevice,
  nvme: nvmeDevice,
  ide: ideDevice,
  usb: usbDevice,
};

/** Buses whose disks share their places: functions of the root bus. */
const FAMILY: Partial<Record<MachineDisk['bus'], MachineDisk['bus']>> = { nvme: 'virtio' };

/** Controllers that are there for the disks on them only. */
function controllers(places: Record<MachineDisk['bus'], number>, io: JsonOptions): JsonOptions[] {
  const list: JsonOptions[] = [];
  if (places.scsi > 0) list.push({ driver: 'virtio-scsi-pci', id: 'scsi', ...io, ...slot(SCSI_SLOT) });
  if (places.ide > 0) list.push({ driver: 'piix3-ide', id: 'pata', ...slot(IDE_SLOT) });
  if (places.usb > 0)
    list.push({ driver: 'qemu-xhci', id: 'usb', p2: USB_PORTS, p3: USB_PORTS, ...slot(USB_SLOT) });
  return list;
}

export function diskDevice(description: MachineDescription, host: Host): string[] {
  const { disks, cpu } = description;
  const { seed } = host;
  const threads = { vcpus: cpu.sockets * cpu.cores * cpu.threads, io: mapping(description) };
  const places: Record<MachineDisk['bus'], number> = { virtio: 0, scsi: 0, sata: 0, nvme: 0, ide: 0, usb: 0 };
  const devices = disks.flatMap((disk, index) => {
    if (disk.backend?.type === 'attached') return [];
    const drive = {
      id: `disk-${disk.name}`,
      drive: host.disks[index] === null ? undefined : diskNode(index),
      serial: disk.serial,
      bootindex: disk.bootIndex,
      // The image locks allow others that say the same, and still nobody else.
      'share-rw': disk.shareable ? true : undefined,
    };
    return DEVICE[disk.bus](disk, drive, places[FAMILY[disk.bus] ?? disk.bus]++, threads);
  });
  devices.unshift(...controllers(places, threads.io));
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
