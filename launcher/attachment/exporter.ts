/** qemu-storage-daemon with one disk: started, watched, and started again at once when it is killed. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineDisk } from '../../crds/machine-description.ts';
import { prepareDisks } from '../disks/prepare.ts';
import type { Log } from '../log.ts';
import { prepareLayers } from '../snapshot/at-start.ts';
import { asyncIo } from '../vm/start.ts';
import { KEY_FILE, keyLine, storageDaemon } from './command-line.ts';

const PROGRAM = 'qemu-storage-daemon';
/** Milliseconds between two looks for the pid file. */
const LOOK = 20;
/** Milliseconds that it must have run for its end not to be its own fault. */
const LASTED = 5_000;
/** Ends in a row after which another pod is to try. */
const PATIENCE = 3;

export interface ExporterOptions {
  disk: MachineDisk;
  /** Name of the export and its key. */
  name: string;
  key: string;
  run: string;
  log: Log;
  /** Clients can connect, or can no more. */
  onChange: (exporting: boolean) => void;
}

/** Exports until `signal`; throws VmsteadError where the disk cannot be exported. */
export async function exportDisk(options: ExporterOptions, signal: AbortSignal): Promise<void> {
  const { disk, name, key, run, log, onChange } = options;
  const paths = { key: join(run, 'key'), pid: join(run, 'exporter.pid') };
  mkdirSync(paths.key, { recursive: true, mode: 0o700 });
  writeFileSync(join(paths.key, KEY_FILE), keyLine(key), { mode: 0o600 });
  for (let failures = 0; !signal.aborted; ) {
    rmSync(paths.pid, { force: true });
    // Each time: a device is claimed anew, and what a process that was killed left undone is finished.
    const plain = prepareDisks({ disks: [disk] }, asyncIo());
    const { disks } = prepareLayers({ disks: [disk] }, plain.disks);
    const [prepared] = disks;
    if (!prepared) throw new VmsteadError('DiskUnusable', `disk ${disk.name} has nothing to export`);
    const began = performance.now();
    const args = storageDaemon(prepared, name, paths);
    const child = spawn(PROGRAM, args, { stdio: ['ignore', 'inherit', 'pipe', ...plain.claims] });
    for (const claim of plain.claims) closeSync(claim);
    let words = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      words = `${words}${chunk}`.slice(-1500);
      process.stderr.write(chunk);
    });
    const ended = new Promise<string>((resolve) => {
      child.once('exit', (code, by) => resolve(by ?? `exit code ${code}`));
      child.once('error', (error) => resolve(error.message));
    });
    const end = () => child.kill('SIGTERM');
    signal.addEventListener('abort', end, { once: true });
    let over = false;
    void ended.then(() => {
      over = true;
    });
    while (!over && !ready(paths.pid)) await sleep(LOOK);
    if (!over) {
      log.info({}, 'the disk can be reached');
      onChange(true);
    }
    const how = await ended;
    signal.removeEventListener('abort', end);
    onChange(false);
    if (signal.aborted) return;
    failures = performance.now() - began < LASTED ? failures + 1 : 1;
    log.warn({ how, failures }, `${PROGRAM} ended`);
    if (failures >= PATIENCE) {
      const said = words.trim().split('\n').slice(-3).join('; ');
      throw new VmsteadError(
        'DiskUnusable',
        `disk ${disk.name} cannot be exported: ${PROGRAM} ended ${failures} times (${how})${said === '' ? '' : `: ${said}`}`,
      );
    }
  }
}

/** It is written when clients can connect, and not before. */
const ready = (path: string): boolean => existsSync(path) && readFileSync(path, 'utf8').trim() !== '';
