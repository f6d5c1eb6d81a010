import { closeSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { completed, type LayerTree, withoutSnapshot, withSnapshot } from '../../launcher/disks/layers.ts';
import { ensureTree, makeActive, writeTree } from '../../launcher/disks/layers-file.ts';
import { Bench, MIB } from '../../test/mover/import.ts';
import { sha } from '../../test/mover/web-server.ts';

const CLUSTER = 65536;
let from: Bench;
let bench: Bench;
beforeEach(() => {
  [from, bench] = [new Bench(), new Bench()];
});
afterEach(() => {
  from[Symbol.dispose]();
  bench[Symbol.dispose]();
});

const first = () => join(from.directory, 'disk.img');
const job = (snapshot: string) => bench.job({ type: 'snapshot', directory: from.directory, snapshot });

function freeze(tree: LayerTree, uid: string): LayerTree {
  const after = completed(
    withSnapshot(tree, { uid, name: uid, at: '2026-01-01T00:00:00Z', disks: ['a'] }),
    uid,
  );
  makeActive(first(), after);
  writeTree(first(), after);
  return after;
}

/** What QEMU does when a guest writes a cluster to an empty layer of ours: a table where there is none, then the data. */
function writeCluster(tree: LayerTree, index: number, data: Buffer | 'zero'): void {
  const path = join(from.directory, tree.active);
  const file = openSync(path, 'r+');
  try {
    const now = readFileSync(path);
    const l1 = Number(now.readBigUInt64BE(40));
    let table = Number(now.readBigUInt64BE(l1) & 0x00fffffffffffe00n);
    let end = Math.ceil(now.length / CLUSTER) * CLUSTER;
    const entry = Buffer.alloc(8);
    const put = (value: bigint, at: number) => {
      entry.writeBigUInt64BE(value);
      writeSync(file, entry, 0, 8, at);
    };
    if (table === 0) {
      table = end;
      writeSync(file, Buffer.alloc(CLUSTER), 0, CLUSTER, table);
      put(BigInt(table) | (1n << 63n), l1);
      end += CLUSTER;
    }
    if (data === 'zero') put(1n, table + index * 8);
    else {
      writeSync(file, data, 0, data.length, end);
      put(BigInt(end) | (1n << 63n), table + index * 8);
    }
  } finally {
    closeSync(file);
  }
}

test('any chain of layers becomes the disk that its guest saw at each snapshot', async () => {
  const write = fc.record({ index: fc.nat(31), value: fc.constantFrom('zero', 1, 2, 3) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(write, { maxLength: 12 }), { minLength: 1, maxLength: 3 }),
      async (layers) => {
        from[Symbol.dispose]();
        from = new Bench();
        const disk = Buffer.alloc(2 * MIB - 512, 7);
        writeFileSync(first(), disk);
        let tree = freeze(ensureTree(first(), 'raw'), 's0');
        const seen = [sha(disk)];
        for (const [number, writes] of layers.entries()) {
          for (const { index, value } of writes) {
            const data = value === 'zero' ? value : Buffer.alloc(CLUSTER, Number(value) * 16 + number);
            writeCluster(tree, index, data);
            disk.fill(
              data === 'zero' ? 0 : data[0]!,
              index * CLUSTER,
              Math.min(disk.length, (index + 1) * CLUSTER),
            );
          }
          tree = freeze(tree, `s${number + 1}`);
          seen.push(sha(disk));
        }
        for (const [number, sha256] of seen.entries()) {
          bench[Symbol.dispose]();
          bench = new Bench();
          const image = { format: 'raw', sha256, virtualBytes: disk.length, source: { type: 'snapshot' } };
          expect(await bench.run(job(`s${number}`))).toMatchObject({ result: 'Succeeded', image });
        }
      },
    ),
    { numRuns: 6 },
  );
});

test('a disk that begins like an image of another format is a disk; one that has grown ends in zeroes', async () => {
  writeFileSync(first(), Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(MIB - 4, 1)]));
  const tree = freeze(ensureTree(first(), 'raw'), 'small');
  truncateSync(first(), MIB + 700);
  freeze(tree, 'same');
  const content = readFileSync(first()).subarray(0, MIB);
  expect(await bench.run(job('same'))).toMatchObject({
    image: { format: 'raw', sha256: sha(content), bytes: MIB },
  });
  const look = { ...job('same'), target: { type: 'none' as const } };
  expect(await bench.run(look)).toMatchObject({ inspection: { virtualBytes: MIB, bytes: MIB } });
});

test('what is not there is said, also when it goes while it is read', async () => {
  writeFileSync(first(), Buffer.alloc(MIB));
  expect(await bench.run(job('none'))).toMatchObject({ code: 'SnapshotUnusable', retry: false });
  const tree = freeze(ensureTree(first(), 'raw'), 'gone');
  rmSync(first());
  expect(await bench.run(job('gone'))).toMatchObject({ result: 'Failed' });
  writeTree(first(), withoutSnapshot(tree, 'gone'));
  expect(await bench.run(job('gone'))).toMatchObject({ code: 'SnapshotUnusable' });
}, 20_000);
