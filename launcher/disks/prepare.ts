/** Makes and checks what the description's disks lie on, and says how QEMU is to open it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineDescription, MachineDisk } from '../../crds/machine-description.ts';
import type { PreparedDisk } from '../machine/host.ts';
import { createBlank } from './blank.ts';
import { resolveInside } from './inside.ts';
import { createOverlay, inspectImage } from './qcow2.ts';
import { claimDevice, regularFile, takesDirect } from './storage.ts';

interface PreparedDisks {
  disks: PreparedDisk[];
  /** Descriptors that hold block devices; QEMU must inherit them. */
  claims: number[];
}

type Backend<T extends MachineDisk['backend']['type']> = Extract<MachineDisk['backend'], { type: T }>;

/** Throws DiskBusy and DiskUnusable. */
export function prepareDisks({ disks }: Pick<MachineDescription, 'disks'>): PreparedDisks {
  const claims: number[] = [];
  const prepared = disks.map((disk): PreparedDisk => {
    const readOnly = disk.readOnly || disk.device === 'cdrom';
    const { backend } = disk;
    if (backend.type === 'file') return prepareFile(disk.name, backend, readOnly);
    if (backend.type === 'image') return prepareImage(disk.name, backend, readOnly);
    claims.push(claimDevice(disk.name, backend.path, readOnly));
    return { driver: 'host_device', filename: backend.path, format: 'raw', direct: true, readOnly };
  });
  return { disks: prepared, claims };
}

function prepareFile(name: string, backend: Backend<'file'>, readOnly: boolean): PreparedDisk {
  const { path, format, create } = backend;
  if (create !== undefined) createBlank(name, path, create.maxBytes);
  regularFile(name, path);
  return { driver: 'file', filename: path, format, direct: takesDirect(name, path, readOnly), readOnly };
}

/** Folder of an image that holds its disk, as KubeVirt's container disks have it. */
const IMAGE_FOLDER = '/disk';

function prepareImage(name: string, backend: Backend<'image'>, readOnly: boolean): PreparedDisk {
  const path = resolveInside(backend.directory, backend.path ?? onlyDisk(name, backend.directory));
  const { format, virtualBytes } = inspectImage(path, regularFile(name, path).size);
  const base = { driver: 'file', filename: path, format, direct: takesDirect(name, path, true) } as const;
  if (readOnly) return { ...base, readOnly: true };
  const maxBytes = createOverlay(backend.overlay.path, virtualBytes, backend.overlay.maxBytes);
  return {
    driver: 'file',
    filename: backend.overlay.path,
    format: 'qcow2',
    direct: takesDirect(name, backend.overlay.path, false),
    readOnly: false,
    overlay: { base, maxBytes },
  };
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
