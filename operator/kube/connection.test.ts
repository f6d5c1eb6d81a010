import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { inCluster } from './connection.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => void vi.useRealTimers());

function serviceAccount(): string {
  const directory = mkdtempSync(join(tmpdir(), 'vmstead-sa-'));
  writeFileSync(join(directory, 'ca.crt'), 'the authority');
  writeFileSync(join(directory, 'token'), 'first\n');
  return directory;
}
const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };

test('a pod finds its API server by what the kubelet gives it', () => {
  const directory = serviceAccount();
  expect(inCluster(env, directory)).toMatchObject({
    url: 'https://10.96.0.1:443',
    ca: Buffer.from('the authority'),
  });
  const v6 = inCluster({ ...env, KUBERNETES_SERVICE_HOST: 'fd00::1' }, directory);
  expect(new URL(v6.url).hostname).toBe('[fd00::1]');
  expect(() => inCluster({}, directory)).toThrow('this is not a pod');
});

test('the token is read again after a minute, and at once when it was refused', async () => {
  const directory = serviceAccount();
  const connection = inCluster(env, directory);
  expect(await connection.authorization?.()).toBe('Bearer first');
  writeFileSync(join(directory, 'token'), 'second');
  vi.advanceTimersByTime(59_000);
  expect(await connection.authorization?.()).toBe('Bearer first');
  vi.advanceTimersByTime(2_000);
  expect(await connection.authorization?.()).toBe('Bearer second');
  writeFileSync(join(directory, 'token'), 'third');
  connection.refused?.();
  expect(await connection.authorization?.()).toBe('Bearer third');
});
