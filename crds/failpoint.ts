/**
 * Named failpoints: places where a chaos test may kill the process, before or after something that
 * cannot be taken back. Compiled in and off unless `VMSTEAD_FAILPOINTS` is set, for instance
 * `VMSTEAD_FAILPOINTS="api:create:pods=kill@after,qmp:cont=kill@before:3"`: the process ends itself by
 * SIGKILL after the first pod create, or before the third `cont`.
 *
 * The file imports nothing, so that the launcher can use it at no cost.
 */

type Moment = 'before' | 'after';

interface Armed {
  readonly moment: Moment;
  /** Hits left until it fires; 1 fires at the next one. */
  left: number;
}

const PATTERN = /^(?<name>[A-Za-z0-9_.:/-]+)=kill@(?<moment>before|after)(?::(?<nth>[1-9][0-9]*))?$/;

/** Parses the value of `VMSTEAD_FAILPOINTS`; throws on anything it does not understand, since a test that arms nothing proves nothing. */
export function parseFailpoints(text: string): Map<string, Armed[]> {
  const armed = new Map<string, Armed[]>();
  for (const item of text.split(',').map((part) => part.trim())) {
    if (item === '') continue;
    const groups = PATTERN.exec(item)?.groups;
    if (groups === undefined) {
      throw new Error(
        `VMSTEAD_FAILPOINTS: "${item}" is not of the form name=kill@before|after[:n], for instance api:create:pods=kill@after:2`,
      );
    }
    const list = armed.get(groups.name!) ?? [];
    list.push({ moment: groups.moment as Moment, left: Number(groups.nth ?? 1) });
    armed.set(groups.name!, list);
  }
  return armed;
}

let points = parseFailpoints(process.env.VMSTEAD_FAILPOINTS ?? '');
let kill = (): void => {
  process.kill(process.pid, 'SIGKILL');
};

/** Marks a place in the program; does nothing unless a test armed it. */
export function failpoint(name: string, moment: Moment): void {
  if (points.size === 0) return;
  for (const point of points.get(name) ?? []) {
    if (point.moment === moment && --point.left === 0) kill();
  }
}

/** Arms failpoints within a unit test, with an action in place of SIGKILL; returns how to disarm them. */
export function armFailpoints(text: string, action: () => void): Disposable {
  const before = { points, kill };
  points = parseFailpoints(text);
  kill = action;
  return {
    [Symbol.dispose]() {
      points = before.points;
      kill = before.kill;
    },
  };
}
