/** What is in the images, and what is not. */
import { expect, test } from 'vitest';
import { docker } from '../../images/docker.ts';

const LAUNCHER = 'vmstead/launcher:dev';
const run = (image: string, script: string) =>
  docker(['run', '--rm', '--network=none', '--entrypoint=/bin/sh', image, '-c', script]);

test('the launcher image stays under 400 MB, unpacked', async () => {
  const bytes = Number(await docker(['image', 'inspect', '--format', '{{.Size}}', LAUNCHER]));
  expect(bytes / 1e6).toBeLessThan(400);
  expect(bytes / 1e6).toBeGreaterThan(100);
});

test('all images have one layer with Node, so that a node keeps it once', async () => {
  const layers = await Promise.all(
    ['launcher', 'operator', 'agent'].map(async (name) => {
      const format = '{{json .RootFS.Layers}}';
      return JSON.parse(
        await docker(['image', 'inspect', '--format', format, `vmstead/${name}:dev`]),
      ) as string[];
    }),
  );
  expect(new Set(layers.map(([first]) => first)).size).toBe(1);
});

test.each([LAUNCHER, 'vmstead/operator:dev'])(
  '%s has no set-uid program, no package manager, no root',
  async (image) => {
    expect(
      await run(
        image,
        'find / -xdev -type f -perm /6000 2>/dev/null; command -v apt perl su mount passwd; id -u',
      ),
    ).toMatch(/^(107|65532)\n$/);
  },
);

test('every program of the launcher finds its libraries', async () => {
  const programs = 'qemu-system-x86_64 qemu-img qemu-storage-daemon tini node xz zstd prlimit';
  const script = `for p in ${programs}; do $p --version | head -1; done`;
  expect(
    (await run(LAUNCHER, script))
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[0]),
  ).toEqual([
    'QEMU',
    'qemu-img',
    'qemu-storage-daemon',
    'tini',
    expect.stringMatching(/^v24\./),
    'xz',
    '***',
    'prlimit',
  ]);
});
