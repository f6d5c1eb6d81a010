/** Which fields of the spec differ from the machine that runs, and so wait for the next start. */
import type { MachineDescription, MachineDisk } from '../../crds/machine-description.ts';
import { asSpecified, isAttached } from './live.ts';
import { sorted } from './sorted.ts';

export interface PendingChange {
  field: string;
  running: string;
  wanted: string;
}

type Reading = (machine: MachineDescription) => unknown;

/** A field of the spec and where its value is in the machine description. */
const FIELDS: readonly [string, Reading][] = [
  ['spec.machine.type', (machine) => machine.machineType],
  ['spec.acceleration', (machine) => machine.accelerator],
  ['spec.cpu.model', (machine) => machine.cpu.model],
  ['spec.cpu.sockets', (machine) => machine.cpu.sockets],
  ['spec.cpu.cores', (machine) => machine.cpu.cores],
  ['spec.cpu.threads', (machine) => machine.cpu.threads],
  ['spec.memory.size', (machine) => `${machine.memoryMiB}Mi`],
  ['spec.firmware.type', (machine) => machine.firmware.type],
  ['spec.firmware.uuid', (machine) => machine.uuid],
  ['spec.firmware.serial', (machine) => machine.serial],
  ['spec.kernel', (machine) => machine.kernel],
  ['spec.ioThreads', (machine) => machine.ioThreads],
  ['spec.cloudInit', (machine) => machine.cloudInit && { ...machine.cloudInit, instanceId: undefined }],
  ['spec.terminationGracePeriodSeconds', (machine) => machine.terminationGracePeriodSeconds],
];

const LONGEST = 200;

/**
 * What changed since the machine was made; what the owner did not touch is not in it.
 * @param plugging names of disks that come while it runs
 */
export function pendingChanges(
  running: MachineDescription,
  wanted: MachineDescription,
  plugging: ReadonlySet<string> = new Set(),
): PendingChange[] {
  const there = running.disks.filter(({ unplugged }) => !unplugged);
  const fields = FIELDS.map(([field, read]) => change(field, read(running), read(wanted)));
  return [
    ...fields,
    ...named(
      'spec.disks',
      there.map(asSpecified).map(independentAs(wanted)).map(mountedAs(wanted)),
      wanted.disks
        .filter(({ name }) => !plugging.has(name) || there.some((each) => each.name === name))
        .map(asSpecified)
        .map(knownIn(running)),
    ),
    ...named('spec.networks', running.networks, wanted.networks),
  ]
    .filter((each) => each !== undefined)
    .slice(0, 32);
}

/** A disk that has become independent of its image is what it is wanted to be. */
function independentAs({ disks }: MachineDescription) {
  return (disk: MachineDisk): MachineDisk => {
    const { backend } = disk;
    const wants = disks.find(({ name }) => name === disk.name)?.backend;
    if (backend?.type !== 'file' && backend?.type !== 'block') return disk;
    if (wants?.type !== backend.type || wants.base !== undefined) return disk;
    const { base: _, flatten: __, ...rest } = backend;
    return { ...disk, backend: rest };
  };
}

/** A disk that came while the machine runs is mounted by the next pod itself: how it is reached is no difference. */
function mountedAs({ disks }: MachineDescription) {
  return (disk: MachineDisk): MachineDisk => {
    const target = disks.find(({ name }) => name === disk.name);
    const backend = target && asSpecified(target).backend;
    return isAttached(disk) && (backend?.type === 'file' || backend?.type === 'block')
      ? { ...disk, backend }
      : disk;
  };
}

/** Without what a machine of an earlier version does not tell of its disks. */
function knownIn(running: MachineDescription) {
  return ({ source, ...disk }: MachineDisk): MachineDisk => {
    const told = running.disks.find(({ name }) => name === disk.name);
    const old = told?.backend !== undefined && told.source === undefined;
    return old || source === undefined ? disk : { ...disk, source };
  };
}

function named(list: string, running: readonly { name: string }[], wanted: readonly { name: string }[]) {
  const names = new Set([...running, ...wanted].map((each) => each.name));
  return [...names].map((name) => {
    const of = (items: readonly { name: string }[]) => items.find((each) => each.name === name);
    return change(`${list}[${name}]`, of(running), of(wanted));
  });
}

function change(field: string, running: unknown, wanted: unknown): PendingChange | undefined {
  const [before, after] = [show(running), show(wanted)];
  return before === after ? undefined : { field, running: cut(before), wanted: cut(after) };
}

function show(value: unknown): string {
  if (value === undefined) return 'none';
  // The order of members means nothing, and is the schema's in a description that was read back.
  return typeof value === 'string' ? value : JSON.stringify(sorted(value));
}

const cut = (text: string): string => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);
