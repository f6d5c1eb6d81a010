/**
 * What a launcher's pod sends of a disk, and what the command that writes it to a file asks for. Both ends are in
 * one exec of the pod; the launcher itself only keeps the moment that is read.
 */

/** Disk content comes in pieces that begin at a multiple of this and never cross a multiple of {@link WINDOW}. */
export const GRAIN = 64 * 1024;
export const WINDOW = 1024 * 1024;

/** The argument of the helper in the pod, as JSON. */
export interface ExportRequest {
  /** Name of the disk; absent: the only one. */
  disk?: string;
  /** A VirtualMachineSnapshot of the VM; absent: the disk as it is now. */
  snapshot?: string;
  /** Of an export that was begun: the same moment again, or nothing. */
  id?: string;
  /** What was received up to here; a multiple of WINDOW. */
  from?: number;
}

/** What the receiver says on standard input when it has all of it: the moment is let go of. */
export const EXPORT_DONE = 'done';

/** `Filesystem`: the guest's agent held its file systems still. `Memory`: the snapshot has the guest's memory too. */
export type ExportConsistency = 'Memory' | 'Filesystem' | 'Crash';

/** The first line of an export. */
export interface ExportBegin {
  version: 1;
  id: string;
  disk: string;
  /** Of the whole disk. */
  bytes: number;
  /** What of it may be other than zeroes: the rest is not sent. */
  dataBytes: number;
  /** And how much of that lies before `from`. */
  dataBefore: number;
  /** ISO time of the moment. */
  at: string;
  consistency: ExportConsistency;
}

/** Comes in the place of anything else when it goes no further. */
export interface ExportFailure {
  code: string;
  message: string;
}

/**
 * Kinds of records. Each begins with a byte for its kind, the offset on the disk and the length of what follows,
 * as 8 bytes each, big end first. `Check`: the SHA-256 of everything since the first line, this header left out;
 * all up to its offset was sent. `Failure`: an {@link ExportFailure}.
 */
export const RECORD = { Data: 1, Check: 2, End: 3, Failure: 4 } as const;
export const RECORD_HEADER = 17;
