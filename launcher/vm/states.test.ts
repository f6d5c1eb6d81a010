import { expect, test } from 'vitest';
import { machineState } from '../../crds/channel.ts';
import { type Happening, next, TRANSITIONS } from './states.ts';

const HAPPENINGS: Happening[] = ['running', 'paused', 'ioError', 'stopRequested', 'ended'];

test('every state of the channel has its row', () => {
  expect(Object.keys(TRANSITIONS).sort()).toEqual([...machineState.options].sort());
});

test('every state can end, and an end is for ever', () => {
  for (const state of machineState.options) expect(next(state, 'ended')).toBe('Ended');
  for (const happening of HAPPENINGS) expect(next('Ended', happening) ?? 'Ended').toBe('Ended');
});

test('a VM that is stopping never looks as if it ran again', () => {
  for (const happening of HAPPENINGS.filter((each) => each !== 'ended')) {
    expect(next('Stopping', happening)).toBe('Stopping');
  }
});

test('no VM goes back to Starting', () => {
  for (const row of Object.values(TRANSITIONS)) expect(Object.values(row)).not.toContain('Starting');
});
