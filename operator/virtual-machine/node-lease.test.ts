import { describe, expect, it } from 'vitest';
import { silentSince } from './node-lease.ts';
import { NOW } from './testing.ts';

const lease = (secondsAgo: number, leaseDurationSeconds = 40) => ({
  metadata: { name: 'worker-1', uid: 'l', resourceVersion: '1' },
  spec: { renewTime: new Date(NOW - secondsAgo * 1000).toISOString(), leaseDurationSeconds },
});

describe('a node’s lease', () => {
  it.each([
    [0, undefined],
    [11, undefined],
    [24, undefined],
    [25, '2026-01-01T11:59:35Z'],
    [40, '2026-01-01T11:59:20Z'],
  ])('renewed %i s ago: silent since %s', (seconds, since) => {
    expect(silentSince(lease(seconds), NOW)).toBe(since);
  });

  it('counts by its own duration', () => {
    expect(silentSince(lease(40, 120), NOW)).toBeUndefined();
    expect(silentSince(lease(76, 120), NOW)).toBe('2026-01-01T11:58:44Z');
  });

  it('without a time says nothing', () => {
    expect(silentSince({ ...lease(0), spec: {} }, NOW)).toBeUndefined();
  });
});
