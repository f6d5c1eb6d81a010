/**
 * What must outlive a launcher process: kept on the pod's tmpfs, written whole by rename, so that a launcher
 * killed at any instruction leaves the old or the new.
 */
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errno } from '../errno.ts';
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
  /** Ids of the last commands, each carried out at most once. */
  commands: string[];
  /** How the guest's end was read before QEMU was told to quit. */
  ending?: { result: string; message: string };
}

/** Enough for as many operations as can be under way; an older id never comes again. */
const REMEMBERED_COMMANDS = 64;

export class Life {
  readonly record: LifeRecord;
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

  /** Notes a command before it is carried out; false when it was noted before. */
  beginCommand(id: string): boolean {
    if (this.record.commands.includes(id)) return false;
    this.change({ commands: [...this.record.commands, id].slice(-REMEMBERED_COMMANDS) });
    return true;
  }

  /** When `supervise` was asked to stop, if it was. */
  stopRequestedAt(): number | undefined {
    return statSync(join(this.directory, 'stop-requested'), { throwIfNoEntry: false })?.mtimeMs;
  }

  private save(): void {
    const next = `${this.path}.next`;
    writeFileSync(next, JSON.stringify(this.record));
    renameSync(next, this.path);
  }
}
