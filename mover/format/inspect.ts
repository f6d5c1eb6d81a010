/** What an image says of itself, in its own headers: the first thing that is believed is the refusal. */
import type { ImageFormat } from '../../crds/mover.ts';
import { MoverFailure, unusable } from '../failure.ts';
import { DETECT_BYTES, isIso, type Kind, kindOf } from './detect.ts';
import { inspectQcow2 } from './qcow2.ts';
import { type Reader, TooEarly, TooShort } from './reader.ts';
import { inspectVdi } from './vdi.ts';
import { inspectVhdx } from './vhdx.ts';
import { inspectVmdk } from './vmdk.ts';
import { fixedVpc, inspectVpc } from './vpc.ts';

export interface Inspected {
  format: ImageFormat;
  virtualBytes: number;
  iso: boolean;
}

const SECTOR = 512;

const INSPECT: Readonly<Record<Exclude<Kind, 'raw'>, (reader: Reader) => Promise<number>>> = {
  qcow2: inspectQcow2,
  vmdk: inspectVmdk,
  vdi: inspectVdi,
  vpc: inspectVpc,
  vhdx: inspectVhdx,
};

/**
 * Format and virtual size; undefined while too little of the image is there to tell.
 * Throws ImageUnusable and ImageTooLarge.
 */
export async function inspect(
  reader: Reader,
  head: Buffer,
  mostVirtualBytes: number,
): Promise<Inspected | undefined> {
  const kind = kindOf(head);
  try {
    const { format, virtualBytes } =
      kind === 'raw' ? await inspectRaw(reader) : { format: kind, virtualBytes: await INSPECT[kind](reader) };
    if (virtualBytes === 0) throw unusable(`the image is an empty ${format} disk`);
    if (virtualBytes > mostVirtualBytes) {
      throw new MoverFailure(
        'ImageTooLarge',
        `the image holds a disk of ${virtualBytes} bytes, larger than the ${mostVirtualBytes} that it may have`,
      );
    }
    return { format, virtualBytes, iso: kind === 'raw' && isIso(head) };
  } catch (error) {
    if (error instanceof TooEarly) return undefined;
    if (error instanceof TooShort) throw unusable(`the image is a ${kind} image that was cut off`);
    throw error;
  }
}

async function inspectRaw(reader: Reader): Promise<{ format: 'raw' | 'vpc'; virtualBytes: number }> {
  if (reader.length === undefined) throw new TooEarly();
  if (reader.length === 0) throw unusable('the source is empty');
  if (reader.length < SECTOR) throw unusable(`the source has only ${reader.length} bytes: no disk`);
  const fixed = await fixedVpc(reader);
  if (fixed !== undefined) return { format: 'vpc', virtualBytes: fixed };
  return { format: 'raw', virtualBytes: Math.ceil(reader.length / SECTOR) * SECTOR };
}

/** The beginning that detection needs, of an image that is all there. */
export async function headOf(reader: Reader): Promise<Buffer> {
  return await reader.read(0, Math.min(DETECT_BYTES, reader.length ?? 0));
}
