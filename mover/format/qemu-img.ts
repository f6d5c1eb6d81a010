/** A second opinion on an image, by QEMU's own tool: the format given, never probed, and bounded in time and memory. */
import { execFile } from 'node:child_process';
import * as z from 'zod';
import type { ImageFormat } from '../../crds/mover.ts';
import { MoverFailure, unusable } from '../failure.ts';
import type { Inspected } from './inspect.ts';

const LIMIT = { cpuSeconds: 120, addressBytes: 1024 * 1024 * 1024, wallMs: 900_000 };
const LONGEST_OUTPUT = 4 * 1024 * 1024;
/** Formats that qemu-img can check. */
const CHECKED: readonly ImageFormat[] = ['qcow2', 'vdi', 'vmdk', 'vhdx'];

const info = z.object({
  format: z.string(),
  'virtual-size': z.int(),
  encrypted: z.boolean().optional(),
  'backing-filename': z.string().optional(),
  'format-specific': z
    .object({
      data: z.object({
        corrupt: z.boolean().optional(),
        'data-file': z.string().optional(),
        extents: z.array(z.unknown()).optional(),
      }),
    })
    .optional(),
});

const check = z.object({
  'check-errors': z.int(),
  corruptions: z.int().optional(),
});

export interface ImagePlace {
  path: string;
  /** A block device holds the image in its first bytes. */
  device: boolean;
  bytes: number;
}

/** Confirms what was inspected; returns the virtual size that QEMU will show. Throws ImageUnusable, ImageTooLarge. */
export async function confirm(
  place: ImagePlace,
  { format, virtualBytes }: Inspected,
  mostVirtualBytes: number,
  signal: AbortSignal,
): Promise<number> {
  if (format === 'raw') return virtualBytes;
  const name = blockNode(place, format);
  const told = await run(['info', '--output=json', name], format, signal);
  const parsed = info.safeParse(told.json);
  if (told.code !== 0 || !parsed.success) throw refused(format, told.words);
  const { data } = parsed;
  const specific = data['format-specific']?.data;
  if (data['backing-filename'] !== undefined || specific?.['data-file'] !== undefined)
    throw unusable(`the image is a ${format} image that needs another file`);
  if (data.encrypted === true) throw unusable(`the image is an encrypted ${format} image`);
  if (specific?.corrupt === true) throw unusable(`the image is a ${format} image that is marked as corrupt`);
  if ((specific?.extents?.length ?? 1) !== 1)
    throw unusable(`the image is a ${format} image in several files`);
  const size = data['virtual-size'];
  // QEMU rounds some VHDs to whole cylinders.
  if (format !== 'vpc' && size !== Math.ceil(virtualBytes / 512) * 512)
    throw unusable(
      `the image is a damaged ${format} image: QEMU finds ${size} bytes in it, its header tells ${virtualBytes}`,
    );
  if (size > mostVirtualBytes)
    throw new MoverFailure(
      'ImageTooLarge',
      `the image holds a disk of ${size} bytes, more than ${mostVirtualBytes}`,
    );
  if (CHECKED.includes(format)) await checkTables(name, format, signal);
  return size;
}

async function checkTables(name: string, format: ImageFormat, signal: AbortSignal): Promise<void> {
  const { json, words } = await run(['check', '--output=json', name], format, signal);
  const parsed = check.safeParse(json);
  if (!parsed.success) throw refused(format, words);
  const { corruptions = 0, 'check-errors': errors } = parsed.data;
  // Leaked clusters only waste room.
  if (corruptions > 0 || errors > 0) {
    throw unusable(
      `the image is a damaged ${format} image: qemu-img check finds ${corruptions} corruptions and ${errors} errors; it was cut off, or copied while it was in use`,
    );
  }
}

/** Each layer by name: nothing is left for QEMU to guess. */
function blockNode({ path, device, bytes }: ImagePlace, format: ImageFormat): string {
  const protocol = device
    ? // QEMU's own sizes are in sectors.
      { driver: 'raw', size: Math.ceil(bytes / 512) * 512, file: { driver: 'host_device', filename: path } }
    : { driver: 'file', filename: path };
  return `json:${JSON.stringify({ driver: format, 'read-only': true, file: protocol })}`;
}

interface Told {
  code: number;
  json: unknown;
  words: string;
}

async function run(args: string[], format: ImageFormat, signal: AbortSignal): Promise<Told> {
  const limits = [`--cpu=${LIMIT.cpuSeconds}`, `--as=${LIMIT.addressBytes}`, '--core=0'];
  const options = {
    timeout: LIMIT.wallMs,
    killSignal: 'SIGKILL' as const,
    maxBuffer: LONGEST_OUTPUT,
    signal,
  };
  return await new Promise((resolve, reject) => {
    execFile('prlimit', [...limits, '--', 'qemu-img', ...args], options, (error, stdout, stderr) => {
      if (signal.aborted) return reject(signal.reason);
      if (error?.code === 'ENOENT')
        return reject(new MoverFailure('MoverFailed', 'cannot run prlimit and qemu-img'));
      if (
        error?.killed ||
        error?.signal ||
        (error?.code as unknown) === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER'
      ) {
        return reject(
          unusable(
            `the image is a ${format} image that takes qemu-img ${args[0]} too much time or memory to read`,
          ),
        );
      }
      resolve({ code: Number(error?.code ?? 0), json: parse(stdout), words: stderr });
    });
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refused(format: ImageFormat, words: string): MoverFailure {
  const said = words
    .replaceAll(/json:\{.*?\}\}'?:? ?/g, '')
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .trim();
  return unusable(`the image is a ${format} image that QEMU does not take: ${said.slice(0, 300)}`);
}
