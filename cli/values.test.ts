import { describe, expect, it } from 'vitest';
import { parseDuration, vmName } from './values.ts';

describe('parseDuration', () => {
  it.each([
    ['0', 0],
    ['90', 90_000],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1m30s', 90_000],
  ])('%s is %d ms', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });
  it.each(['', 'soon', '5d', '-1s', '1.5h', 's'])('%j is no time', (text) => {
    expect(() => parseDuration(text)).toThrow('is no time; write for example 30s, 5m or 1h30m');
  });
});

describe('vmName', () => {
  it.each(['web', 'vm/web', 'vmst/web', 'virtualmachine.vmstead.io/web', 'virtualmachines/web'])(
    '%s',
    (text) => {
      expect(vmName(text)).toBe('web');
    },
  );
  it.each(['pod/web', 'Web', '', '../pods', 'a b', 'web?x=1'])('%j is no name', (text) => {
    expect(() => vmName(text)).toThrow('is no name of a VM');
  });
});
