/**
 * What must outlive a launcher process: kept on the pod's tmpfs, written whole by rename, so that a launcher
 * killed at any instruction leaves the old or the new.
 */
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MachineDisk } from '../../crds/machine-description.ts';
import type { RestoreReport } from '../../crds/snapshot-order.ts';
import { errno } from '../errno.ts';
import type { ExportRecord } from '../export/moment.ts';
import type { PreparedDisk } from '../machine/host.ts';
import type { Incoming } from '../snapshot/at-start.ts';
import type { Ending } from './ending.ts';
import type { ProcessId } from './process.ts';

export interface LifeRecord {
  /** Launchers of this pod before this one. */
  restarts: number;
  /** Set once QEMU has run: from then on it is taken over, or its end is told, but never a second one started. */
  qemu?: ProcessId;
  /** ISO times. */
  machineReadyAt?: string;
  guestUpAt?: string;
  guestReady?: 'Signal' | 'Agent';
  /** Paused by a person: only a person resumes it. */
  pausedByPerson: boolean;
  /** The last commands, each carried out at most once. */
  commands: { id: string; done: boolean }[];
  /** How the disks were prepared: a launcher that takes over must not touch them again. */
  disks?: (PreparedDisk | null)[];
  /** What the disks are to be since the machine was changed while it runs. */
  machine?: { revision: number; disks: MachineDisk[] };
  /** Keys of attached disks' present exporters, and the hotplug ports that they are in, by name. */
  attached?: Record<string, { key: string; port?: number }>;
  /** Of the last error that stopped the guest. */
  ioError?: { disk: number; noSpace: boolean };
  /** A snapshot that is being taken, and whether a person had paused the guest before. */
  snapshot?: { uid: string; paused: boolean };
  /** The guest's file systems may be frozen by us. */
  frozen?: boolean;
  /** A disk that is being exported, and what stands between it and the guest for that. */
  export?: ExportRecord;
  /** The memory that QEMU was started to wait for. */
  incoming?: Incoming;
  /** What this life of the VM began with. */
  restored?: RestoreReport;
  /** How the guest's end was read, before QEMU is told to quit. */
  ending?: Ending;
}

/** Enough for as many operations as can be under way; an older id never comes again. */
const REMEMBERED_COMMANDS = 64;

export class Life {
  record: LifeRecord;
  private readonly path: string;
  private readonly directory: string;

  private constructor(directory: string, record: LifeRecord) {
    this.directory = directory;
    this.path = join(directory, 'life.json');
    this.record = record;
  }

  /** The life that a launcher before this one left, or a new one. */
  static open(directory: string): Life {
    let record: LifeRecord = { restarts: 0, pausedByPerson: false, commands: [] };
    try {
      record = JSON.parse(readFileSync(join(directory, 'life.json'), 'utf8')) as LifeRecord;
      record.restarts++;
    } catch (error) {
      if (errno(error) !== 'ENOENT') throw error;
    }
    const life = new Life(directory, record);
    life.save();
    return life;
  }

  change(change: Partial<LifeRecord>): void {
    Object.assign(this.record, change);
    this.save();
  }

  /** Forgets what is not in `record`. */
  replace(record: LifeRecord): void {
    this.record = record;
    this.save();
  }

  forget(...names: ('snapshot' | 'frozen' | 'incoming' | 'export')[]): void {
    for (const name of names) delete this.record[name];
    this.save();
  }

  /** What is known of a command: `begun` when a launcher died while it carried it out. */
  commandState(id: string): 'new' | 'begun' | 'done' {
    const known = this.record.commands.find((command) => command.id === id);
    if (known === undefined) return 'new';
    return known.done ? 'done' : 'begun';
  }

  noteCommand(id: string, done: boolean): void {
    const others = this.record.commands.filter((command) => command.id !== id);
    this.change({ commands: [...others, { id, done }].slice(-REMEMBERED_COMMANDS) });
  }

  /** When `supervise` was asked to stop, if it was. */
  stopRequestedAt(): number | undefined {
    return statSync(join(this.directory, 'stop-requested'), { throwIfNoEntry: false })?.mtimeMs;
  }

  /** Remembers the wish to stop where no `supervise` did; returns when it was first uttered. */
  requestStop(): number {
    try {
      writeFileSync(join(this.directory, 'stop-requested'), '', { flag: 'wx' });
    } catch (error) {
      if (errno(error) !== 'EEXIST') throw error;
    }
    return this.stopRequestedAt() ?? Date.now();
  }

  private save(): void {
    const next = `${this.path}.next`;
    writeFileSync(next, JSON.stringify(this.record));
    renameSync(next, this.path);
  }
}
