/** Makes and checks what the description's disks lie on, and says how QEMU is to open it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineBase, MachineDescription, MachineDisk } from '../../crds/machine-description.ts';
import type { AsyncIo, PreparedDisk } from '../machine/host.ts';
import { writeFilesImage } from '../seed/files.ts';
import { createBlank } from './blank.ts';
import { resolveInside } from './inside.ts';
import { baseStorage, overlayDevice, overlayFile } from './on-base.ts';
import { createOverlay, inspectImage } from './qcow2.ts';
import { claimDevice, deviceBytes, regularFile, takesDirect } from './storage.ts';

interface PreparedDisks {
  /** By place in the description; null where there is nothing to open at the start. */
  disks: (PreparedDisk | null)[];
  /** Descriptors that hold block devices; QEMU must inherit them. */
  claims: number[];
}

type Backend = NonNullable<MachineDisk['backend']>;
type BackendOf<T extends Backend['type']> = Extract<Backend, { type: T }>;

/** What every kind of backend asks of a disk. */
type Manner = Pick<PreparedDisk, 'readOnly' | 'aio'> & { direct: boolean };

/** @param best the fastest kind of asynchronous I/O that this node allows. Throws DiskBusy and DiskUnusable. */
export function prepareDisks(
  { disks }: Pick<MachineDescription, 'disks'>,
  best: 'io_uring' | 'native',
): PreparedDisks {
  const claims: number[] = [];
  const prepared = disks.map((disk): PreparedDisk | null => {
    const { backend, name } = disk;
    // An attached disk is plugged in when the machine runs.
    if (backend === undefined || backend.type === 'attached') return null;
    const readOnly = disk.readOnly || disk.device === 'cdrom';
    const direct = (disk.cache ?? 'none') === 'none';
    const manner = { readOnly, direct, aio: asyncIo(disk.aio, best) };
    if (backend.type === 'file') return prepareFile(name, backend, manner);
    if (backend.type === 'image') return prepareImage(name, backend, manner);
    if (backend.type === 'ephemeral') return prepareEphemeral(name, backend, manner);
    if (backend.type === 'files') {
      writeFilesImage(name, backend);
      return {
        driver: 'file',
        filename: backend.path,
        format: 'raw',
        ...manner,
        direct: false,
        readOnly: true,
      };
    }
    if (backend.type === 'base') {
      return { ...manner, ...baseStorage(name, backend.base, direct), readOnly: true, isImage: true };
    }
    const device = claimDevice(name, backend.path, {
      readOnly: readOnly && backend.base === undefined,
      exclusive: disk.shareable !== true,
    });
    claims.push(device);
    if (backend.format === 'qcow2') {
      const needed = overlayDevice(name, backend.path, device, backend.base);
      const storage = { driver: 'host_device', filename: backend.path, format: 'qcow2' } as const;
      return { ...storage, ...manner, ...onBase(name, backend, needed, manner) };
    }
    return { driver: 'host_device', filename: backend.path, format: 'raw', ...manner };
  });
  return { disks: prepared, claims };
}

/** What is asked for where the node allows it. Threads are always allowed. */
function asyncIo(asked: MachineDisk['aio'], best: 'io_uring' | 'native'): AsyncIo {
  return asked === undefined || asked === 'io_uring' ? best : asked;
}

function prepareFile(name: string, backend: BackendOf<'file'>, manner: Manner): PreparedDisk {
  const { path, format, create } = backend;
  if (format === 'qcow2') {
    const needed = overlayFile(name, path, backend.base, create?.maxBytes ?? 0);
    const direct = takesDirect(name, path, manner.readOnly) && manner.direct;
    return {
      driver: 'file',
      filename: path,
      format,
      ...manner,
      direct,
      ...onBase(name, backend, needed, manner),
    };
  }
  if (create !== undefined && !create.cloned) createBlank(name, path, create);
  regularFile(name, path);
  const direct = takesDirect(name, path, manner.readOnly) && manner.direct;
  return {
    driver: 'file',
    filename: path,
    format,
    ...manner,
    direct,
    ...(create?.preallocate ? { preallocated: true } : {}),
  };
}

/** The image below an overlay that still needs it. */
function onBase(
  name: string,
  { base, flatten }: Pick<BackendOf<'file'>, 'base' | 'flatten'>,
  needed: boolean,
  { direct, readOnly }: Manner,
): Pick<PreparedDisk, 'base' | 'flatten'> {
  if (!needed || base === undefined) return {};
  return { base: baseStorage(name, base, direct), ...(flatten && !readOnly ? { flatten } : {}) };
}

/** Folder of an image that holds its disk, as KubeVirt's container disks have it. */
const IMAGE_FOLDER = '/disk';

function prepareImage(name: string, backend: BackendOf<'image'>, manner: Manner): PreparedDisk {
  const path = resolveInside(backend.directory, backend.path ?? onlyDisk(name, backend.directory));
  const { format, virtualBytes } = inspectImage(path, regularFile(name, path).size);
  const direct = takesDirect(name, path, true) && manner.direct;
  const base = { driver: 'file', filename: path, format, direct } as const;
  if (manner.readOnly) return { ...manner, ...base };
  const maxBytes = createOverlay(backend.overlay.path, virtualBytes, backend.overlay.maxBytes);
  return {
    driver: 'file',
    filename: backend.overlay.path,
    format: 'qcow2',
    ...manner,
    direct: takesDirect(name, backend.overlay.path, false) && manner.direct,
    overlay: { base, maxBytes },
  };
}

/** A throw-away overlay on a claim or an image that others may read at the same time. */
function prepareEphemeral(
  name: string,
  { base: { bytes, virtualBytes, ...what }, overlay }: BackendOf<'ephemeral'>,
  manner: Manner,
): PreparedDisk {
  const size = bytes ?? rawBytes(name, what);
  const base = baseStorage(name, { ...what, bytes: size, virtualBytes: virtualBytes ?? size }, manner.direct);
  if (manner.readOnly) return { ...manner, ...base, readOnly: true, isImage: true };
  const maxBytes = createOverlay(overlay.path, virtualBytes ?? size, overlay.maxBytes);
  return {
    driver: 'file',
    filename: overlay.path,
    format: 'qcow2',
    ...manner,
    direct: takesDirect(name, overlay.path, false) && manner.direct,
    overlay: { base, maxBytes },
  };
}

function rawBytes(name: string, { type, path }: Pick<MachineBase, 'type' | 'path'>): number {
  const bytes = type === 'block' ? deviceBytes(name, path) : regularFile(name, path).size;
  if (bytes === 0) throw new VmsteadError('DiskUnusable', `disk ${name}: ${path} is empty`);
  return Math.ceil(bytes / 512) * 512;
}

function onlyDisk(name: string, directory: string): string {
  let entries: string[] = [];
  try {
    entries = readdirSync(resolveInside(directory, IMAGE_FOLDER));
  } catch (error) {
    if (!(error instanceof VmsteadError)) throw error;
  }
  if (entries.length === 1) return join(IMAGE_FOLDER, entries[0]!);
  throw new VmsteadError(
    'DiskUnusable',
    `disk ${name}: its image has ${entries.length === 0 ? 'no file' : `${entries.length} files`} in ${IMAGE_FOLDER}; name the disk's path in the spec`,
  );
}
