import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEBIAN_RELEASE } from '../versions.ts';
import { askDocker } from './docker-cli.ts';
import { hasProgram, installPackages, isRoot } from './packages.ts';
import { SetupError, type Step } from './step.ts';

const baseImageName = `debian:${DEBIAN_RELEASE}-slim`;

/** About as many lines as debootstrap prints for a minimal system. */
const debootstrapLines = 421;

export const baseImage: Step = {
  name: 'base-image',
  title: `Base image ${baseImageName}`,
  needs: ['docker-engine'],
  isDone: async () =>
    (await askDocker('image', 'inspect', '--format', '{{.Id}}', baseImageName)) !== undefined,
  async run(context) {
    try {
      context.progress(undefined, 'pulling it');
      await context.run('timeout', ['120', 'docker', 'pull', '--quiet', baseImageName]);
      return;
    } catch {
      context.log('it cannot be pulled: making it from Debian packages instead');
    }
    if (!isRoot())
      throw new SetupError(`${baseImageName} cannot be pulled, and making it from packages needs root`);
    if (!(await hasProgram('debootstrap')))
      await installPackages(context, ['debootstrap'], 'to make the base image');
    const folder = await mkdtemp(join(tmpdir(), 'vmstead-base-'));
    try {
      let lines = 0;
      await context.run(
        'debootstrap',
        ['--variant=minbase', '--include=ca-certificates', DEBIAN_RELEASE, folder],
        {
          onLine: () => context.progress(Math.min(++lines / debootstrapLines, 0.95), 'debootstrap'),
        },
      );
      context.progress(0.97, 'importing it');
      await context.run('/bin/sh', [
        '-ec',
        'tar -C "$1" --exclude="./var/cache/apt/archives/*.deb" --exclude="./var/lib/apt/lists/*" -c . | docker import - "$2"',
        ...['sh', folder, baseImageName],
      ]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
