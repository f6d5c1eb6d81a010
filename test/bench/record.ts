/** The last measurements of each bench, kept in docs/benchmarks.json so that one bench can be run alone. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../../setup/paths.ts';
import { CONTAINERD_VERSION, KUBERNETES_VERSION } from '../../setup/versions.ts';
import type { Bed } from './bed.ts';
import type { BenchName, Measurement } from './measurement.ts';

/** A bench's last run, and what it ran on. */
export interface Run extends Measurement {
  /** Day and minute, UTC. */
  date: string;
  /** Short commit id; with `+` when files differed from it. */
  commit: string;
  machine: string;
  /** Load averages when it ended: other work on the machine makes times longer. */
  load: string;
  versions: string;
}

export type Record = Partial<{ [name in BenchName]: Run }>;

const path = join(root, 'docs', 'benchmarks.json');

/** Processes that want a CPU, as averages over 1, 5 and 15 minutes. */
export function loadNow(): string {
  return loadavg()
    .map((value) => value.toFixed(1))
    .join(', ');
}

export async function readRecord(): Promise<Record> {
  const text = await readFile(path, 'utf8').catch(() => '{}');
  return JSON.parse(text) as Record;
}

export async function remember(run: Run): Promise<Record> {
  const record = { ...(await readRecord()), [run.bench]: run };
  await writeFile(path, `${JSON.stringify(record, null, 2)}\n`);
  return record;
}

/** What a figure means nothing without. */
export async function surroundings(bed: Bed): Promise<Pick<Run, 'commit' | 'machine' | 'versions'>> {
  const run = promisify(execFile);
  const head = (await run('git', ['rev-parse', '--short', 'HEAD'], { cwd: root })).stdout.trim();
  const changed = (await run('git', ['status', '--porcelain', '--untracked-files=no'], { cwd: root })).stdout;
  const qemu = await run('docker', [
    ...[
      'run',
      '--rm',
      '--network',
      'none',
      '--entrypoint',
      'qemu-system-x86_64',
      bed.images.launcher,
      '--version',
    ],
  ]);
  const cores = cpus();
  return {
    commit: changed.trim() === '' ? head : `${head}+`,
    machine: `${cores.length} × ${cores[0]?.model.replace(/\s+/g, ' ').trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${arch()}, Linux ${release()}`,
    versions: `Kubernetes ${KUBERNETES_VERSION}, containerd ${CONTAINERD_VERSION}, ${/version (\S+)/.exec(qemu.stdout)?.[0].replace('version', 'QEMU') ?? 'QEMU'}, Node ${process.version}`,
  };
}
