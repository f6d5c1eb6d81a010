import { expect, test } from 'vitest';
import { withSection } from './record.ts';

test('each run writes its own section and keeps the other one', () => {
  const soaked = withSection('', 'soak', 'five minutes\n\n| blow |');
  const both = withSection(soaked, 'failpoints', 'all passed');
  expect(both.split('\n').filter((line) => line.startsWith('#'))).toEqual([
    '# Chaos: the last runs',
    '## Failpoints',
    '## Random blows',
  ]);
  expect(both).toContain('five minutes\n\n| blow |\n');
  const again = withSection(both, 'failpoints', 'one failed');
  expect(again).toBe(both.replace('all passed', 'one failed'));
  expect(withSection(again, 'soak', 'five minutes\n\n| blow |')).toBe(again);
});
