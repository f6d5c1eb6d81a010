/** What the pure part of the launcher must know of its surroundings: found out before, never looked up here. */
import type { ImageFormat } from '../../crds/mover.ts';

/** Where the launcher and QEMU meet: all on one tmpfs. */
export interface RunPaths {
  qmp: string;
  pid: string;
  console: string;
  serialLog: string;
  guestAgent: string;
  guestPort: string;
}

/** A file or device that a disk is made of. */
interface Storage {
  driver: 'file' | 'host_device';
  filename: string;
  format: ImageFormat;
  /** Length of what counts of it, from its beginning; absent: all. */
  size?: number;
  /** Past the page cache: it is asked for, and the filesystem takes O_DIRECT. */
  direct: boolean;
}

/** An image that is only read, by any number of machines. */
export type BaseStorage = Storage;

export type AsyncIo = 'io_uring' | 'native' | 'threads';

/** One file of a disk that was snapshotted. */
export interface LayerStorage {
  filename: string;
  format: 'raw' | 'qcow2';
  /** Past the page cache. */
  direct: boolean;
}

export interface PreparedDisk extends Storage {
  readOnly: boolean;
  aio: AsyncIo;
  /** Keeps the room that it has: what the guest discards is not given back. */
  preallocated?: true;
  /** For a throw-away overlay: the image below it and the most that the overlay's file may grow to. */
  overlay?: { base: Storage; maxBytes: number };
  /** It is a VirtualMachineImage itself. */
  isImage?: true;
  /** The image that it still needs. */
  base?: BaseStorage;
  /** The base is to be copied into it while the guest runs. */
  flatten?: true;
  /** What it was frozen as by snapshots, the newest first. */
  layers?: LayerStorage[];
}

export interface Host {
  run: RunPaths;
  /** One for each disk of the description, in its order; null for an empty drive. */
  disks: readonly (PreparedDisk | null)[];
  /** The NoCloud seed, a raw image. */
  seed?: string;
  /** QEMU waits for a memory before it runs anything. */
  incoming?: boolean;
  /** UEFI code image; the variables' path is in the description. */
  uefiCode?: string;
  /** Without a cluster: the address and ports of this machine that stand for the pod's. */
  forwardFrom?: { address: string; ports: ReadonlyMap<number, number> };
}
