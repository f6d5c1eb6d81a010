import { expect, it } from 'vitest';
import { isGuestLine, lastLines } from './logs.ts';

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
