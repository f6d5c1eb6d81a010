/** What a person writes for a time or a VM. */
import { usage } from './usage.ts';

/**
 * Milliseconds of a duration such as `90`, `90s`, `5m` or `1h30m`.
 *
 * @throws VmsteadError `Usage`
 */
export function parseDuration(text: string): number {
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?$/.exec(text);
  const [, hours, minutes, seconds] = match ?? [];
  if (match === null || text === '') {
    throw usage(`${JSON.stringify(text)} is no time; write for example 30s, 5m or 1h30m`);
  }
  return ((Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * 60 + Number(seconds ?? 0)) * 1000;
}

/** Name of a VM, also when it is written as kubectl prints it: `vm/web`. */
export function vmName(text: string): string {
  const name = text.replace(/^(vm|vmst|virtualmachines?)(\.vmstead\.io)?\//, '');
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)) {
    throw usage(`${JSON.stringify(text)} is no name of a VM`);
  }
  return name;
}
