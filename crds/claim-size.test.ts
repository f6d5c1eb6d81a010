import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { claimSizeFor, diskClaimSizeFor } from './claim-size.ts';
import { parseBytes } from './quantity.ts';

const bytes = fc.integer({ min: 1, max: 2 ** 44 });

describe('the size of a claim', () => {
  it('is that of the bytes on a device, and with room for tables in a file system', () => {
    expect([1, 2 ** 20, 2 ** 20 + 1, 2 ** 31].map((each) => claimSizeFor(each, 'Block'))).toEqual([
      '1Mi',
      '1Mi',
      '2Mi',
      '2Gi',
    ]);
    expect([1, 2 ** 31].map((each) => claimSizeFor(each))).toEqual(['33Mi', '2208Mi']);
  });

  it('of a disk has room for the whole disk as qcow2, on a device as in a file system', () => {
    fc.assert(
      fc.property(bytes, (size) => {
        const device = Number(parseBytes(diskClaimSizeFor(size, 'Block')));
        // As the launcher reckons it.
        expect((device - 4 * 2 ** 20) * (1 - 1 / 4096) - 2 ** 20).toBeGreaterThanOrEqual(size);
        expect(Number(parseBytes(diskClaimSizeFor(size))) * 0.97).toBeGreaterThan(size);
      }),
    );
  });
});
