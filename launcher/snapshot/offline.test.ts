import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { armFailpoints } from '../../crds/failpoint.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import { chainOf } from '../disks/layers.ts';
import { OfflineLayers } from './offline.ts';
import { reportOf } from './report.ts';
import { LayerStore } from './store.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'offline-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const order = (uid: string) => ({
  uid,
  name: uid,
  memory: false,
  quiesce: 'Auto' as const,
  deadlineSeconds: 60,
});

function machine(...names: string[]): Pick<MachineDescription, 'disks'> {
  const disks = names.map((name): MachineDescription['disks'][number] => {
    const path = join(root, name, 'disk.img');
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `data of ${name}`.padEnd(4096, '.'));
    const backend = { type: 'file' as const, path, format: 'raw' as const, create: { maxBytes: 4096 } };
    return { name, device: 'disk', bus: 'virtio', serial: name, readOnly: false, backend };
  });
  return { disks };
}

const chains = (store: LayerStore) =>
  store.disks.map((disk) => chainOf(store.ensure(disk), store.ensure(disk).active).map(({ file }) => file));

test('freezes every disk once, reads it through, and lets go of it', async () => {
  const description = machine('data', 'logs');
  const layers = new OfflineLayers(description);
  layers.take({ ...order('a'), poweredOff: true });
  layers.take({ ...order('a'), poweredOff: true });
  expect(chains(layers.store)).toEqual([
    ['disk.1.qcow2', 'disk.img'],
    ['disk.1.qcow2', 'disk.img'],
  ]);
  while (await layers.readOne(() => true));
  const sha256 = expect.stringMatching(/^[0-9a-f]{64}$/);
  expect(reportOf(layers.store)).toMatchObject([
    {
      uid: 'a',
      frozen: true,
      disks: [
        { name: 'data', sha256 },
        { name: 'logs', sha256 },
      ],
    },
  ]);
  layers.forget('a');
  layers.forget('a');
  expect(reportOf(new LayerStore(description))).toEqual([]);
});

test('refuses what it cannot do, with nothing touched', () => {
  const description = machine('data');
  const refused = (change: object) => () => new OfflineLayers(description).take({ ...order('a'), ...change });
  expect(refused({ memory: true })).toThrow('has no memory');
  expect(refused({ quiesce: 'Required' })).toThrow('did not power itself off');
  rmSync(join(root, 'data', 'disk.img'));
  expect(refused({})).toThrow('start it once');
  expect(readdirSync(join(root, 'data'))).toEqual([]);
});

test('killed at any step, it is there on all disks or on none, and the disks read the same', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('layers:write=kill@before', 'layers:write=kill@after', 'layers:made=kill@after'),
      fc.integer({ min: 1, max: 10 }),
      (point, hit) => {
        for (const entry of readdirSync(root)) rmSync(join(root, entry), { recursive: true });
        const description = machine('data', 'logs');
        try {
          using _armed = armFailpoints(`${point}:${hit}`, () => {
            throw new Error('killed');
          });
          new OfflineLayers(description).take(order('a'));
        } catch (error) {
          expect(String(error)).toContain('killed');
        }
        const { store } = new OfflineLayers(description);
        const marks = store.disks.map((disk) => store.get(disk)?.snapshots.length ?? 0);
        expect(new Set(marks).size).toBe(1);
        for (const disk of store.disks) {
          const tree = store.ensure(disk);
          const files = readdirSync(dirname(disk.first)).filter((name) => name.startsWith('disk.'));
          expect(files.sort()).toEqual(tree.layers.map(({ file }) => file).sort());
          expect(chainOf(tree, tree.active).at(-1)?.file).toBe('disk.img');
        }
      },
    ),
    { numRuns: 60 },
  );
});
