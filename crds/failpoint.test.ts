import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { armFailpoints, failpoint, parseFailpoints } from './failpoint.ts';

test('a failpoint fires at the hit that was asked for, once, before or after', () => {
  const fired: string[] = [];
  let now = '';
  using _ = armFailpoints('api:create:pods=kill@after:2,qmp:cont=kill@before', () => fired.push(now));
  const hit = (name: string, moment: 'before' | 'after', label: string) => {
    now = label;
    failpoint(name, moment);
  };
  hit('api:create:pods', 'before', 'create 1 before');
  hit('api:create:pods', 'after', 'create 1 after');
  hit('qmp:cont', 'after', 'cont after');
  hit('qmp:cont', 'before', 'cont before');
  hit('api:create:pods', 'after', 'create 2 after');
  hit('api:create:pods', 'after', 'create 3 after');
  hit('api:create:podsandmore', 'after', 'another name');
  expect(fired).toEqual(['cont before', 'create 2 after']);
});

test('what cannot be understood is refused, since a test that arms nothing proves nothing', () => {
  for (const bad of ['api:create:pods', 'a=die@before', 'a=kill@during', 'a=kill@after:0', '=kill@after']) {
    expect(() => parseFailpoints(bad), bad).toThrow('VMSTEAD_FAILPOINTS');
  }
  expect(parseFailpoints(' , ').size).toBe(0);
});

test('the process dies by SIGKILL', () => {
  const script = `
    import { failpoint } from ${JSON.stringify(new URL('./failpoint.ts', import.meta.url).href)};
    failpoint('here', 'before');
    console.log('between');
    failpoint('here', 'after');
    console.log('not reached');`;
  const { signal, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, VMSTEAD_FAILPOINTS: 'here=kill@after' },
    encoding: 'utf8',
  });
  expect(signal).toBe('SIGKILL');
  expect(stdout).toBe('between\n');
});
