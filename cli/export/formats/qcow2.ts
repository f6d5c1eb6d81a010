/**
 * qcow2, front to back: header and L1 table have their place, data and L2 tables follow as they come, and the
 * reference counts, which are 1 each, are written last.
 * Source: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt
 */
import { packed, unpacked, type WriterMaker } from './writer.ts';

const CLUSTER = 64 * 1024;
const ENTRIES = CLUSTER / 8;
/** What one L2 table maps. */
const L2_SPAN = ENTRIES * CLUSTER;
/** Entries of 16 bits in a block of reference counts. */
const COUNTS = CLUSTER / 2;
const MAGIC = 0x514649fb;
/** Nothing else refers to this cluster: its reference count is 1. */
const COPIED = 1n << 63n;

export const qcow2Writer: WriterMaker = (sink, bytes, state) => {
  const l1 =
    state === undefined
      ? new BigUint64Array(Math.max(1, Math.ceil(bytes / L2_SPAN)))
      : unpacked(state.l1 as string);
  const l1Clusters = Math.ceil(l1.byteLength / CLUSTER);
  let l2 = state === undefined ? new BigUint64Array(ENTRIES) : unpacked(state.l2 as string);
  /** Which L2 table that is; -1: none yet. */
  let open = (state?.open as number | undefined) ?? -1;
  let next = (state?.next as number | undefined) ?? 1 + l1Clusters;

  const closeTable = async () => {
    if (open < 0) return;
    await sink.write(next * CLUSTER, bigEndian(l2));
    l1[open] = BigInt(next++ * CLUSTER) | COPIED;
    l2 = new BigUint64Array(ENTRIES);
    open = -1;
  };

  return {
    async write(offset, data) {
      const table = Math.floor(offset / L2_SPAN);
      if (table !== open) {
        await closeTable();
        open = table;
      }
      const count = Math.ceil(data.length / CLUSTER);
      const first = (offset - table * L2_SPAN) / CLUSTER;
      for (let index = 0; index < count; index++) {
        l2[first + index] = BigInt((next + index) * CLUSTER) | COPIED;
      }
      await sink.write(next * CLUSTER, data);
      next += count;
    },
    state: () => ({ l1: packed(l1), l2: packed(l2), open, next }),
    async finish() {
      await closeTable();
      const { blocks, tableClusters } = countsFor(next);
      const all = next + blocks + tableClusters;
      const counts = Buffer.alloc(blocks * CLUSTER);
      for (let cluster = 0; cluster < all; cluster++) counts.writeUInt16BE(1, cluster * 2);
      await sink.write(next * CLUSTER, counts);
      const table = new BigUint64Array(blocks).map((_, index) => BigInt((next + index) * CLUSTER));
      await sink.write((next + blocks) * CLUSTER, bigEndian(table));
      await sink.setLength(all * CLUSTER);
      await sink.write(CLUSTER, bigEndian(l1));
      const header = Buffer.alloc(112);
      header.writeUInt32BE(MAGIC, 0);
      header.writeUInt32BE(3, 4);
      header.writeUInt32BE(16, 20);
      header.writeBigUInt64BE(BigInt(bytes), 24);
      header.writeUInt32BE(l1.length, 36);
      header.writeBigUInt64BE(BigInt(CLUSTER), 40);
      header.writeBigUInt64BE(BigInt((next + blocks) * CLUSTER), 48);
      header.writeUInt32BE(tableClusters, 56);
      header.writeUInt32BE(4, 96);
      header.writeUInt32BE(112, 100);
      await sink.write(0, header);
    },
  };
};

/** How many clusters the reference counts take, which count themselves too. */
function countsFor(used: number): { blocks: number; tableClusters: number } {
  let blocks = 1;
  let tableClusters = 1;
  for (;;) {
    const needed = Math.ceil((used + blocks + tableClusters) / COUNTS);
    const table = Math.ceil((needed * 8) / CLUSTER);
    if (needed === blocks && table === tableClusters) return { blocks, tableClusters };
    blocks = needed;
    tableClusters = table;
  }
}

function bigEndian(table: BigUint64Array): Buffer {
  const bytes = Buffer.alloc(table.length * 8);
  for (const [index, entry] of table.entries()) bytes.writeBigUInt64BE(entry, index * 8);
  return bytes;
}
