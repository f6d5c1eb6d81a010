/** Only looks at a source: what its image is, and how large a claim for it has to be. */
import type { ImageInspection, MoverJob } from '../crds/mover.ts';
import { MoverFailure } from './failure.ts';
import { DETECT_BYTES, isIso } from './format/detect.ts';
import { inspect } from './format/inspect.ts';
import { HeadReader } from './format/reader.ts';
import type { Source } from './source/source.ts';
import { unwrapAll } from './unwrap.ts';

/** Where the metadata of nearly all VHDX images are. */
const BYTES = 8 * 1024 * 1024;
const SECTOR = 512;

/** Throws MoverFailure, with ImageSizeUnknown when the source does not tell. */
export async function look(job: MoverJob, source: Source): Promise<ImageInspection> {
  if (source.raw) return await lookAtDisk(job, source);
  const { head, complete, drop, wrappers } = await unwrapAll(source.read(0), BYTES);
  await drop();
  const first = head.subarray(0, DETECT_BYTES);
  const inspected = await inspect(new HeadReader(head, complete), first, job.maxVirtualBytes);
  const { total } = source;
  const sourceBytes = total === undefined ? {} : { sourceBytes: total };
  const stored = complete ? head.length : wrappers.length === 0 ? total : undefined;
  if (inspected !== undefined) {
    const { format, virtualBytes, iso } = inspected;
    const bytes = stored ?? mostStored(virtualBytes);
    return { format, virtualBytes, bytes, ...(iso ? { iso } : {}), ...sourceBytes };
  }
  const size = stored ?? diskSize(head);
  if (size === undefined) {
    throw new MoverFailure(
      'ImageSizeUnknown',
      wrappers.length === 0
        ? 'the source does not tell how long it is; set spec.claim.size'
        : `nothing tells how large the disk is that was compressed with ${wrappers.at(-1)}; set spec.claim.size`,
    );
  }
  const virtualBytes = Math.ceil(size / SECTOR) * SECTOR;
  refuseTooLarge(job, virtualBytes);
  return { format: 'raw', virtualBytes, bytes: size, ...(isIso(first) ? { iso: true } : {}), ...sourceBytes };
}

/** As large as it is once the first of it was read. */
async function lookAtDisk(job: MoverJob, source: Source): Promise<ImageInspection> {
  for await (const _ of source.read(0)) break;
  const bytes = source.total ?? 0;
  refuseTooLarge(job, bytes);
  return { format: 'raw', virtualBytes: bytes, bytes, sourceBytes: bytes };
}

function refuseTooLarge({ maxVirtualBytes }: MoverJob, virtualBytes: number): void {
  if (virtualBytes <= maxVirtualBytes) return;
  throw new MoverFailure(
    'ImageTooLarge',
    `the image holds a disk of ${virtualBytes} bytes, more than ${maxVirtualBytes}`,
  );
}

/** An image that holds every byte of its disk, and its tables. */
function mostStored(virtualBytes: number): number {
  return Math.ceil(virtualBytes * (1 + 1 / 256)) + 2 * 1024 * 1024;
}

/** A GPT is told where the disk ends (UEFI 5.3.2, AlternateLBA); an ISO 9660 volume how long it is (ECMA-119 8.4.8). */
function diskSize(head: Buffer): number | undefined {
  if (head.toString('latin1', SECTOR, SECTOR + 8) === 'EFI PART')
    return (Number(head.readBigUInt64LE(SECTOR + 32)) + 1) * SECTOR;
  const volume = 32768;
  if (head.toString('latin1', volume, volume + 6) === '\x01CD001')
    return head.readUInt32LE(volume + 80) * head.readUInt16LE(volume + 128);
  return undefined;
}
