/** What an export writes, read by QEMU's own tools. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FORMATS, type FormatName } from '../../cli/export/formats/formats.ts';
import { docker } from '../../images/docker.ts';
import { exportTo, type RandomDisk, randomDisk, writeTruth } from '../export/disk.ts';

const FORMAT_NAMES = Object.keys(FORMATS) as FormatName[];
const DISKS = 3;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vmstead-export-formats-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Disks that say something by their size, besides random ones. */
const telling: RandomDisk[] = [
  { rest: 0, runs: [] },
  { rest: 0, runs: [{ after: 0, length: 1, fill: 9 }] },
  // Past the first L2 table of a qcow2, and several tables of a VMDK.
  {
    rest: 3,
    runs: [
      { after: 0, length: 200, fill: 3 },
      { after: 1_200_000, length: 3000, fill: 5 },
    ],
  },
];

test('qemu-img finds the same disk in every format, after a break too', { timeout: 300_000 }, async () => {
  const random = fc.sample(
    fc.record({ disk: randomDisk, cut: fc.double({ min: 0.1, max: 0.9, noNaN: true }) }),
    DISKS,
  );
  const disks = [...telling.map((disk) => ({ disk, cut: 0.5 })), ...random];
  const lines: string[] = ['set -e', 'cd /d'];
  for (const [index, { disk, cut }] of disks.entries()) {
    await writeTruth(join(folder, `${index}.truth`), disk);
    for (const format of FORMAT_NAMES) {
      const name = `${index}.${format}`;
      await exportTo(join(folder, name), format, disk, [cut, cut]);
      lines.push(
        `qemu-img compare -q -f raw -F ${format} ${index}.truth ${name} || echo ${name} differs`,
        // It has no check for raw ones.
        ...(format === 'raw' ? [] : [`qemu-img check -q -f ${format} ${name} || echo ${name} is damaged`]),
        // Read-only formats cannot say more; these two may be written to at once.
        ...(format === 'qcow2' || format === 'vhdx'
          ? [
              `qemu-io -f ${format} -c 'write -P 1 0 512' ${name} >/tmp/out || { cat /tmp/out; echo ${name} takes no write; }`,
            ]
          : []),
        ...(format === 'qcow2' ? [`qemu-img check -q ${name} || echo ${name} is damaged by a write`] : []),
      );
    }
  }
  await writeFile(join(folder, 'look.sh'), lines.join('\n'));
  const said = await docker([
    ...['run', '--rm', '--network=none', '--user=0', '--volume', `${folder}:/d`],
    ...['--entrypoint=/bin/sh', 'vmstead/qemu:dev', '/d/look.sh'],
  ]);
  expect(said, JSON.stringify(disks)).toBe('');
});
