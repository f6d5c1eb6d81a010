import { describe, expect, it } from 'vitest';
import { parseArguments } from '../arguments.ts';
import { columns } from './command.ts';
import { barText } from './progress-bar.ts';

const MIB = 1024 * 1024;

describe('image', () => {
  it('has its columns under each other', () => {
    expect(
      columns([
        ['NAME', 'PHASE'],
        ['debian-12', 'Ready'],
        ['a', ''],
      ]),
    ).toEqual(['NAME       PHASE', 'debian-12  Ready', 'a']);
  });

  it('takes -A for a list', () => {
    expect(parseArguments(['image', 'list', '-A'])).toMatchObject({ names: ['list'] });
    expect(() => parseArguments(['image'])).toThrow('list|upload [NAME FILE]');
  });

  it('says how far an upload is, how fast, and for how long', () => {
    expect(barText(30 * MIB, 120 * MIB, 10 * MIB, 25)).toBe(
      '[########----------------------]  25%  30.0 MiB of 120 MiB, 10.0 MiB/s, 9 s left',
    );
    expect(barText(512, 512, 0, 100)).toBe('[##############################] 100%  512 B of 512 B, 0 B/s');
  });
});
