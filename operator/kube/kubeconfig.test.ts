import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { loadKubeconfig } from './kubeconfig.ts';

const server = 'https://192.0.2.1:6443';
let folder = '';
let path = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmstead-kubeconfig-'));
  path = join(folder, 'config');
  writeFileSync(
    path,
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'plain',
      clusters: [
        { name: 'direct', cluster: { server } },
        { name: 'behind', cluster: { server, 'proxy-url': 'http://192.0.2.2:3128' } },
      ],
      users: [
        { name: 'alice', user: { token: 'secret' } },
        { name: 'root', user: { token: 'secret', as: 'admin', 'as-groups': ['system:masters'] } },
      ],
      contexts: [
        { name: 'plain', context: { cluster: 'direct', user: 'alice' } },
        { name: 'proxied', context: { cluster: 'behind', user: 'alice' } },
        { name: 'impersonating', context: { cluster: 'direct', user: 'root' } },
      ],
    }),
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

test('a context that goes straight to its cluster is taken', () => {
  expect(loadKubeconfig(path).getCurrentCluster()?.server).toBe(server);
});

test.each([
  ['proxied', 'cluster "behind" is reached by a proxy (proxy-url), which is not supported'],
  ['impersonating', 'user "root" acts as "admin" (as), which is not supported'],
  ['absent', `context "absent" is not in`],
])('context %s is refused: %s', (context, message) => {
  expect(() => loadKubeconfig(path, context)).toThrow(message);
});
