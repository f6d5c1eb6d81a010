/** Processes as /proc shows them: a process id alone can be another process tomorrow, its start time cannot. */
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessId {
  pid: number;
  /** Clock ticks since boot (field 22 of /proc/<pid>/stat). */
  startTime: number;
}

/** The fields of /proc/<pid>/stat after the command's name, which may hold spaces and brackets itself. */
function stat(pid: number | string): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** Identity of a process that is there and no zombie. */
export function identify(pid: number): ProcessId | undefined {
  const fields = stat(pid);
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return { pid, startTime: Number(fields[19]) };
}

export function isAlive({ pid, startTime }: ProcessId): boolean {
  return identify(pid)?.startTime === startTime;
}

/** User and system time of a thread, in seconds (Linux fixes the unit at 100 ticks a second). */
export function cpuSeconds(pid: number, thread: number): number | undefined {
  const fields = stat(`${pid}/task/${thread}`);
  return fields === undefined ? undefined : (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory of a process, in bytes. */
export function residentBytes(pid: number): number | undefined {
  const fields = stat(pid);
  return fields === undefined ? undefined : Number(fields[21]) * 4096;
}

/**
 * The QEMU of this run directory, found by its own command line: also one whose launcher was killed between
 * starting it and writing that down.
 */
export function findQemu(pidfile: string): ProcessId | undefined {
  for (const entry of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(entry)) continue;
    let args: string[];
    try {
      args = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
    } catch {
      continue;
    }
    const at = args.indexOf('-pidfile');
    if (at !== -1 && args[at + 1] === pidfile && args[0]?.includes('qemu')) return identify(Number(entry));
  }
  return undefined;
}
