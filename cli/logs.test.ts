import { describe, expect, it } from 'vitest';
import { LABEL } from '../crds/api.ts';
import type { Pod } from '../operator/kube/resources.ts';
import { isGuestLine, lastLines, previousOf } from './logs.ts';

const LAUNCHER = '{"level":"info","time":"2026-11-21T00:00:00.000Z","message":"x"}';

it("tells the launcher's lines from the guest's", () => {
  expect(isGuestLine(LAUNCHER)).toBe(false);
  expect(isGuestLine(' {"level":30}')).toBe(true);
  expect(isGuestLine('{"json": "of the guest"}')).toBe(true);
});

it("counts how far back the guest's last lines go", () => {
  const log = ['one', LAUNCHER, 'two', LAUNCHER, LAUNCHER, 'three', ''].join('\n');
  expect([0, 1, 2, 3, 9].map((wanted) => lastLines(log, wanted))).toEqual([0, 1, 4, 6, 6]);
  expect(lastLines('', 3)).toBe(0);
});

describe('the run before', () => {
  const pod = (incarnation: number, state: object) =>
    ({
      metadata: { name: `vm-web-${incarnation}`, labels: { [LABEL.incarnation]: String(incarnation) } },
      status: { containerStatuses: [{ name: 'launcher', state }] },
    }) as unknown as Pod;
  const runs = (incarnation: number) => pod(incarnation, { running: {} });
  const ended = (incarnation: number) => pod(incarnation, { terminated: { exitCode: 65 } });
  const starts = (incarnation: number) => pod(incarnation, { waiting: {} });
  const previous = (...list: Pod[]) => previousOf(list)?.metadata.name;

  it('is the kept pod, beside one that starts or runs', () => {
    expect(previous(runs(3), ended(2), ended(1))).toBe('vm-web-2');
    expect(previous(starts(3), ended(2))).toBe('vm-web-2');
  });
  it('is the last one of a VM that is off', () => {
    expect(previous(ended(2), ended(1))).toBe('vm-web-2');
  });
  it('is none without a pod, or with the first', () => {
    expect(previous()).toBeUndefined();
    expect(previous(runs(1))).toBeUndefined();
  });
});
