/** The image formats that an export can be written in, by the ending of the file's name. */
import { qcow2Writer } from './qcow2.ts';
import { rawWriter } from './raw.ts';
import { vhdxWriter } from './vhdx.ts';
import { vmdkWriter } from './vmdk.ts';
import type { WriterMaker } from './writer.ts';

export const FORMATS = {
  qcow2: qcow2Writer,
  raw: rawWriter,
  vmdk: vmdkWriter,
  vhdx: vhdxWriter,
} as const satisfies Record<string, WriterMaker>;

export type FormatName = keyof typeof FORMATS;

/** Undefined where the name does not tell. */
export function formatOf(path: string): FormatName | undefined {
  const ending = /\.([a-z0-9]+)$/i.exec(path)?.[1]?.toLowerCase();
  if (ending === 'img') return 'raw';
  return ending !== undefined && Object.hasOwn(FORMATS, ending) ? (ending as FormatName) : undefined;
}
