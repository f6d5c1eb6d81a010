/** Source: VirtualBox, VDICore.h. */
import { unusable } from '../failure.ts';
import type { Reader } from './reader.ts';

const TYPE = { dynamic: 1, fixed: 2 };
const SECTOR = 512;

export async function inspectVdi(reader: Reader): Promise<number> {
  const header = await reader.read(0, 512);
  const version = header.readUInt32LE(68);
  if (version !== 0x00010001)
    throw unusable(`the image is a VDI of version ${version >>> 16}.${version & 0xffff}; 1.1 is known`);
  const type = header.readUInt32LE(76);
  const linked = [440, 456].some((at) => header.subarray(at, at + 16).some((byte) => byte !== 0));
  if ((type !== TYPE.dynamic && type !== TYPE.fixed) || linked) {
    throw unusable(
      'the image is a VDI that is only the difference to another one; clone it: VBoxManage clonemedium',
    );
  }
  const dataAt = header.readUInt32LE(344);
  const virtualBytes = Number(header.readBigUInt64LE(368));
  const blockBytes = header.readUInt32LE(376);
  const blocks = header.readUInt32LE(384);
  const allocated = header.readUInt32LE(388);
  const damaged =
    blockBytes !== 1024 * 1024 ||
    dataAt % SECTOR !== 0 ||
    allocated > blocks ||
    Math.ceil(virtualBytes / blockBytes) > blocks;
  if (damaged) throw unusable('the image is a damaged VDI: its header contradicts itself');
  if (reader.length !== undefined && dataAt + allocated * blockBytes > reader.length) {
    throw unusable(
      `the image is a VDI that was cut off: ${reader.length} of ${dataAt + allocated * blockBytes} bytes are there`,
    );
  }
  return virtualBytes;
}
