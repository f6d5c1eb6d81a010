import { describe, expect, test } from 'vitest';
import { ClusterClock } from './cluster-clock.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const MINUTES = 60_000;

/** A clock on a node that is off by so many milliseconds, and what passes on it. */
function setUp(off: number) {
  let passed = 5_000;
  const clock = new ClusterClock(
    () => NOW + off,
    () => passed,
  );
  return { clock, pass: (ms: number) => (passed += ms) };
}

const header = (time: number) => new Date(time).toUTCString();

describe('the clock of the cluster', () => {
  test('is our own until the API server has answered', () => {
    expect(setUp(10 * MINUTES).clock.now()).toBe(NOW + 10 * MINUTES);
  });

  test.each([10, -10])('is the API server’s where ours is %i minutes off', (minutes) => {
    const { clock, pass } = setUp(minutes * MINUTES);
    clock.heard(header(NOW), 20);
    expect(Math.abs(clock.now() - NOW)).toBeLessThanOrEqual(500);
    pass(90_000);
    expect(Math.abs(clock.now() - (NOW + 90_000))).toBeLessThanOrEqual(500);
  });

  test('does not jump with every answer: the header has whole seconds only', () => {
    const { clock, pass } = setUp(0);
    const before = clock.now();
    for (let i = 0; i < 40; i++) {
      pass(130);
      clock.heard(header(NOW + (i + 1) * 130), 5);
    }
    expect(clock.now()).toBe(before + 40 * 130);
  });

  test('does not believe an answer that was long under way, or none', () => {
    const { clock } = setUp(0);
    clock.heard(header(NOW - 20_000), 20_000);
    clock.heard(undefined, 5);
    clock.heard('yesterday', 5);
    expect(clock.now()).toBe(NOW);
  });

  test('follows a clock of the API server that is set', () => {
    const { clock } = setUp(0);
    clock.heard(header(NOW + 10 * MINUTES), 5);
    expect(Math.abs(clock.now() - (NOW + 10 * MINUTES))).toBeLessThanOrEqual(500);
  });
});
