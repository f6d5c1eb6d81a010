/**
 * What a disk gives, with the settings that Vmstead takes by itself and with the best others: by fio in a guest that
 * the launcher runs, and by `qemu-img bench` without a guest. All variants in turns, each round in another order.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MachineDisk } from '../../../crds/machine-description.ts';
import { fileDisk, Launcher, machine } from '../../qemu/support/launcher.ts';
import { fioGuest } from '../fio-guest.ts';
import type { Figure, FigureId, Measurement, Unit } from '../measurement.ts';
import { summarize } from '../statistics.ts';

const MIB = 1024 * 1024;
const SIZE_MIB = 1024;
const VCPUS = 2;
const SECONDS = 4;

interface Variant {
  disk: Pick<MachineDisk, 'cache' | 'aio'>;
  ioThreads?: number;
}

/** io_uring is what containers may not do by default: it is allowed here. */
const VARIANTS = {
  chosen: { disk: { cache: 'none', aio: 'native' } },
  threads: { disk: { cache: 'none', aio: 'threads' } },
  ioUring: { disk: { cache: 'none', aio: 'io_uring' } },
  pageCache: { disk: { cache: 'writeback', aio: 'threads' } },
  ioThreads: { disk: { cache: 'none', aio: 'native' }, ioThreads: VCPUS },
} as const satisfies Record<string, Variant>;
export type DiskVariant = keyof typeof VARIANTS;

const JOBS = {
  randread: { unit: 'IOPS', fio: `--rw=randread --bs=4k --iodepth=32 --numjobs=${VCPUS}`, field: 7 },
  randwrite: { unit: 'IOPS', fio: `--rw=randwrite --bs=4k --iodepth=32 --numjobs=${VCPUS}`, field: 48 },
  read: { unit: 'MiB/s', fio: '--rw=read --bs=1M --iodepth=8 --numjobs=1', field: 6 },
} as const;
export type DiskJob = keyof typeof JOBS;

/** Modes of `qemu-img bench`, which has no I/O threads. */
const OUTSIDE = {
  chosen: ['-t', 'none', '-i', 'native'],
  threads: ['-t', 'none', '-i', 'threads'],
  ioUring: ['-t', 'none', '-i', 'io_uring'],
  pageCache: ['-t', 'writeback', '-i', 'threads'],
} as const;
const REQUESTS = 40_000;

export async function disk({ say }: { say(message: string): void }, rounds: number): Promise<Measurement> {
  await using guest = await fioGuest(say);
  const folder = await mkdtemp(join(tmpdir(), 'vmstead-disk-'));
  const series = new Map<FigureId, { unit: Unit; values: number[] }>();
  const note = (id: FigureId, unit: Unit, value: number) => {
    const one = series.get(id) ?? { unit, values: [] };
    one.values.push(value);
    series.set(id, one);
  };
  try {
    await fill(folder);
    const names = Object.keys(VARIANTS) as DiskVariant[];
    for (let round = 0; round < rounds; round++) {
      for (const [place] of names.entries()) {
        const name = names[(place + round) % names.length] ?? 'chosen';
        for (const [job, value] of await inGuest(guest, folder, VARIANTS[name])) {
          note(`disk.guest.${job}.${name}`, JOBS[job].unit, value);
          say(`disk ${job} in the guest, ${name}: ${value.toFixed(0)} ${JOBS[job].unit}`);
        }
        if (name === 'ioThreads') continue;
        for (const writes of [false, true]) {
          const value = await outside(folder, OUTSIDE[name], writes);
          note(`disk.outside.${writes ? 'randwrite' : 'randread'}.${name}`, 'IOPS', value);
        }
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const figures = [...series]
    .map(([id, { unit, values }]): Figure => ({ id, unit, summary: summarize(values) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  return {
    bench: 'disk',
    figures,
    notes: [
      `A raw file of ${SIZE_MIB} MiB that holds data, a guest with ${VCPUS} vCPUs under emulation, virtio. fio of Debian in the guest: direct, libaio, ${SECONDS} s each; random requests are of 4 KiB, 32 at a time from each of ${VCPUS} jobs, sequential ones of 1 MiB, 8 at a time. Outside: \`qemu-img bench\`, ${REQUESTS} requests of 4 KiB, 32 at a time, one after the other on the disk. chosen: cache none, aio native, no I/O threads; ioThreads: ${VCPUS} of them, the queues dealt out to them. ioUring runs without the container runtime's seccomp profile, which refuses it.`,
    ],
  };
}

/** Data, not holes: a hole is read without the storage. */
async function fill(folder: string): Promise<void> {
  const disk = join(folder, 'data');
  await mkdir(disk, { recursive: true });
  // User 107 is to find it.
  await chmod(folder, 0o755);
  const run = promisify(execFile);
  await run('sh', [
    '-ec',
    `head -c ${SIZE_MIB}M /dev/urandom >${disk}/disk.img; chmod 666 ${disk}/disk.img; sync`,
  ]);
}

async function inGuest(
  guest: Awaited<ReturnType<typeof fioGuest>>,
  disks: string,
  { disk, ioThreads }: Variant,
): Promise<[DiskJob, number][]> {
  const description = machine('', {
    cpu: { model: 'max', sockets: 1, cores: VCPUS, threads: 1 },
    memoryMiB: 640,
    disks: [{ ...fileDisk('data', SIZE_MIB * MIB), ...disk }],
    ...(ioThreads === undefined ? {} : { ioThreads }),
  });
  const unconfined = disk.aio === 'io_uring' ? ['--security-opt=seccomp=unconfined'] : [];
  await using launcher = await Launcher.start(description, { guest, disks, docker: unconfined });
  await launcher.guestSays(/VMSTEAD-GUEST-UP/, 1, 120);
  const common = `--filename=/dev/vda --direct=1 --ioengine=libaio --group_reporting --time_based --runtime=${SECONDS} --ramp_time=1 --minimal`;
  const commands = Object.entries(JOBS).map(
    ([job, { fio }]) =>
      `/usr/bin/fio --name=${job} ${common} ${fio} --output=/run/o; echo "FI""O-${job} $(tail -n 1 /run/o)"`,
  );
  await begin(launcher, commands.join('; '));
  const results: [DiskJob, number][] = [];
  for (const job of Object.keys(JOBS) as DiskJob[]) {
    const { field, unit } = JOBS[job];
    const line = (await launcher.guestSays(new RegExp(`^FIO-${job} (.*)`, 'm'), 1, 120))[0]?.[1] ?? '';
    const value = Number(line.split(';')[field]);
    if (!(value > 0)) throw new Error(`fio in the guest said nothing of ${job}: ${line}`);
    results.push([job, unit === 'IOPS' ? value : value / 1024]);
  }
  return results;
}

/** On a busy machine what is typed may be lost. */
async function begin(launcher: Launcher, commands: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    await launcher.typeIntoConsole(`echo "FI""O-begin"; ${commands}`);
    try {
      await launcher.guestSays(/^FIO-begin/m, 1, 20);
      return;
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

/** @returns operations a second */
async function outside(folder: string, mode: readonly string[], writes: boolean): Promise<number> {
  const args = [
    'bench',
    '-f',
    'raw',
    '-c',
    String(REQUESTS),
    '-d',
    '32',
    '-s',
    '4096',
    '-S',
    '69632',
    ...mode,
  ];
  const { stdout } = await promisify(execFile)('docker', [
    ...['run', '--rm', '--network=none', '--user=0', '--security-opt=seccomp=unconfined'],
    ...['--volume', `${folder}:/disks`, '--entrypoint', 'qemu-img', 'vmstead/launcher:dev'],
    ...[...args, ...(writes ? ['-w'] : []), '/disks/data/disk.img'],
  ]);
  const seconds = /completed in ([0-9.]+) seconds/.exec(stdout)?.[1];
  if (seconds === undefined) throw new Error(`qemu-img bench said: ${stdout}`);
  return REQUESTS / Number(seconds);
}
