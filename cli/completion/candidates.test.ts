import { describe, expect, it } from 'vitest';
import { choose, optionValue } from './candidates.ts';

const words = (line: string) => {
  const choice = choose(line.split(' '));
  return choice.from === 'words' ? choice.candidates.map(({ word }) => word) : choice;
};

describe('choose', () => {
  it.each([
    ['st', ['start', 'stop']],
    ['-n shop re', ['restart', 'resume', 'reset', 'restore']],
    ['stop --f', ['--force']],
    ['stop web --no', ['--no-wait']],
    ['completion ', ['bash', 'zsh', 'fish']],
    ['completion z', ['zsh']],
    ['export web --s', ['--snapshot']],
    ['help lo', ['logs']],
    ['nothing ', []],
    ['stop web --timeout ', []],
    ['console web ', []],
  ])('after %j', (line, expected) => {
    expect(words(line)).toEqual(expected);
  });

  it('offers every command at the beginning', () => {
    expect(words('')).toContain('console');
    expect(words('')).toContain('help');
  });

  it('asks the cluster for names', () => {
    expect(words('stop we')).toEqual({ from: 'vms', prefix: 'we' });
    expect(words('stop web --force ')).toEqual({ from: 'vms', prefix: '' });
    expect(words('stop -n sh')).toEqual({ from: 'namespaces', prefix: 'sh' });
    expect(words('stop --context ')).toEqual({ from: 'contexts', prefix: '' });
    expect(words('export ')).toEqual({ from: 'vms', prefix: '' });
    expect(words('export web -o ./')).toEqual({ from: 'files', prefix: './' });
    expect(words('--kubeconfig ./')).toEqual({ from: 'files', prefix: './' });
  });
});

it('finds the value of an option that is complete', () => {
  expect(optionValue(['stop', '-n', 'shop', ''], 'namespace')).toBe('shop');
  expect(optionValue(['stop', '-n', 'sh'], 'namespace')).toBeUndefined();
  expect(optionValue(['stop', ''], 'namespace')).toBeUndefined();
});
