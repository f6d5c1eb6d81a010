import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type MachineDescription,
  type MachineDisk,
  machineDescription,
} from '../../crds/machine-description.ts';
import { virtualMachineSpec } from '../../crds/virtual-machine.ts';
import { asSpecified, liveMachine } from './live.ts';
import { describeMachine } from './machine.ts';
import { resolve } from './resolve.ts';
import { pendingChanges } from './restart-required.ts';

const limits = fc.option(
  fc.oneof(
    fc.record({ iops: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ readIops: fc.integer({ min: 1, max: 3 }), bandwidth: fc.constantFrom('1Mi', '2Mi') }),
    fc.constant({}),
  ),
  { nil: undefined },
);

const disk = fc
  .record({
    cdrom: fc.boolean(),
    bus: fc.constantFrom('scsi', 'sata', undefined),
    bootOrder: fc.constantFrom(1, undefined),
    cache: fc.constantFrom('none', 'writeback', undefined),
    limits,
    source: fc.constantFrom('blank', 'iso', 'other', 'none', 'image'),
    size: fc.constantFrom('1Gi', '2Gi'),
    preallocate: fc.boolean(),
  })
  .map(({ cdrom, limits, source, size, preallocate, ...rest }) => ({
    ...rest,
    ...(cdrom ? { device: 'cdrom' } : { limits }),
    ...(source === 'image'
      ? { source: { containerImage: { image: 'x' } } }
      : source === 'none' && cdrom
        ? {}
        : source === 'blank' && !cdrom
          ? { source: { blank: {} }, claim: { size }, preallocate }
          : { source: { claim: { name: source } } }),
  }));

const spec = fc
  .record({
    root: fc.option(disk),
    data: fc.option(disk),
    more: fc.option(disk),
    cores: fc.integer({ min: 1, max: 2 }),
  })
  .map(({ cores, ...named }) => {
    const seen = new Set<string>();
    const disks = Object.entries(named).flatMap(([name, each]) => {
      const claim = JSON.stringify((each as { source?: unknown } | null)?.source) ?? '';
      if (each === null || (claim.includes('"claim"') && seen.has(claim))) return [];
      seen.add(claim);
      return [{ name, ...each, bootOrder: name === 'root' ? each.bootOrder : undefined }];
    });
    const json = { memory: { size: '64Mi' }, cpu: { cores }, kernel: { image: 'a', path: '/a' }, disks };
    return virtualMachineSpec.parse(JSON.parse(JSON.stringify(json)));
  });

function machineOf(given: ReturnType<typeof virtualMachineSpec.parse>): MachineDescription {
  const at = { namespace: 'default', name: 'web' };
  const described = describeMachine({
    ...at,
    uid: 'u',
    incarnation: 1,
    spec: given,
    resolved: resolve(at, given, { machineType: undefined }, 'tcg', 'pc-q35-10.0'),
    claims: new Map(
      (given.disks ?? []).map(({ name, claim }) => [
        name,
        { volumeMode: 'Filesystem', bytes: claim?.size === '2Gi' ? 2 ** 31 : 2 ** 30 },
      ]),
    ),
    channel: undefined,
  });
  return machineDescription.parse(JSON.parse(JSON.stringify(described)));
}

const machines = spec.map(machineOf);

/** What a disk is without what changes while it runs. */
function fixed({ limits: _, ejected: __, backend, ...rest }: MachineDisk) {
  return { ...rest, backend: backend && 'create' in backend ? { ...backend, create: undefined } : backend };
}

describe('from any machine to any other', () => {
  it('what is changed at once and what waits for the next start is the whole difference', () => {
    fc.assert(
      fc.property(machines, machines, machines, (first, second, wanted) => {
        // Any machine that can run: made from a spec, and changed while it ran.
        const running = liveMachine(first, second);
        const next = liveMachine(running, wanted);
        expect(liveMachine(next, wanted)).toBe(next);
        expect(machineDescription.parse(next)).toEqual(next);
        const waits = new Set(pendingChanges(next, wanted).map(({ field }) => field));
        for (const before of running.disks) {
          const after = next.disks.find(({ name }) => name === before.name)!;
          const target = wanted.disks.find(({ name }) => name === before.name);
          expect(fixed(after)).toEqual(fixed(before));
          const field = `spec.disks[${before.name}]`;
          // Nothing is told to wait that is as it is wanted, and nothing that is not is kept quiet about.
          expect(waits.has(field)).toBe(
            target === undefined || !isDeepStrictEqual(asSpecified(after), target),
          );
          if (target !== undefined) expect(after.limits).toEqual(target.limits);
        }
        for (const { name } of wanted.disks) {
          if (!running.disks.some((each) => each.name === name))
            expect(waits).toContain(`spec.disks[${name}]`);
        }
        // A live change makes nothing wait that did not before.
        const waited = pendingChanges(running, wanted).map(({ field }) => field);
        expect(waited).toEqual(expect.arrayContaining([...waits]));
        const changed = !isDeepStrictEqual(next.disks, running.disks);
        expect(next.revision ?? 0).toBe((running.revision ?? 0) + (changed ? 1 : 0));
      }),
      { numRuns: 200 },
    );
  });

  it('a machine that is as its spec says waits for nothing, in whatever order its members are', () => {
    fc.assert(
      fc.property(spec, (given) => {
        const running = machineOf(given);
        expect(pendingChanges(running, { ...running, disks: running.disks.map(reversed) })).toEqual([]);
      }),
    );
  });
});

function reversed<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).reverse()) as T;
}

describe('a disk', () => {
  const iso = { name: 'cd', device: 'cdrom', source: { claim: { name: 'iso' } } };
  const machine = (...disks: object[]) =>
    machineOf(
      virtualMachineSpec.parse({ memory: { size: '64Mi' }, kernel: { image: 'a', path: '/a' }, disks }),
    );

  it('gives its medium back to the drive that it came from', () => {
    const { source: _, ...empty } = iso;
    const out = liveMachine(machine(iso), machine(empty));
    expect(out.disks[0]).toMatchObject({ ejected: true, backend: machine(iso).disks[0]?.backend });
    expect(pendingChanges(out, machine(empty))).toEqual([]);
    const back = liveMachine(out, machine(iso));
    expect(back.disks).toEqual(machine(iso).disks);
    expect(back.revision).toBe(2);
  });

  it('waits for the next start with another medium', () => {
    const other = machine({ ...iso, source: { claim: { name: 'other' } } });
    expect(liveMachine(machine(iso), other)).toEqual(machine(iso));
    expect(pendingChanges(machine(iso), other)).toMatchObject([{ field: 'spec.disks[cd]' }]);
    // From before descriptions said what they were made of.
    const { source: _, ...old } = machine(iso).disks[0]!;
    expect(pendingChanges({ ...machine(iso), disks: [old] }, machine(iso))).toEqual([]);
  });

  it('does not shrink', () => {
    const blank = (size: string) => ({ name: 'data', source: { blank: {} }, claim: { size } });
    const large = machine(blank('2Gi'));
    expect(liveMachine(large, machine(blank('1Gi')))).toBe(large);
    expect(liveMachine(machine(blank('1Gi')), large)).toMatchObject({ revision: 1, disks: large.disks });
  });
});
