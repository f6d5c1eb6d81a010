import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { busyboxImage, pauseImage } from '../../test/cluster/local/definition.ts';
import { nodeImage, nodeImageFolder } from '../../test/cluster/local/node-image.ts';
import { binaries } from '../paths.ts';
import { askDocker, buildProgress, classicBuilder } from './docker-cli.ts';
import type { Step, StepContext } from './step.ts';

async function build(context: StepContext, args: readonly string[]): Promise<void> {
  await context.run('docker', ['build', '--network', 'host', ...args, nodeImageFolder], {
    env: classicBuilder,
    onLine: (line) => {
      const fraction = buildProgress(line);
      if (fraction !== undefined) context.progress(fraction, line);
    },
  });
}

const hasImage = async (name: string): Promise<boolean> =>
  (await askDocker('image', 'inspect', '--format', '{{.Id}}', name)) !== undefined;

export const nodeImageStep: Step = {
  name: 'node-image',
  title: 'Node image',
  needs: ['base-image'],
  isDone: () => hasImage(nodeImage()),
  run: (context) => build(context, ['--tag', nodeImage()]),
};

/** The image that this one's pause and busybox were taken from, as a label. */
const sourceLabel = 'io.vmstead.source';

export const nodeToolImages: Step = {
  name: 'node-tool-images',
  title: 'Pause and busybox images',
  needs: ['node-image'],
  async isDone() {
    const format = `{{index .Config.Labels "${sourceLabel}"}}`;
    const sources = await Promise.all(
      [pauseImage, busyboxImage].map((name) => askDocker('image', 'inspect', '--format', format, name)),
    );
    return sources.every((source) => source === nodeImage());
  },
  async run(context) {
    const common = [
      '--file',
      join(nodeImageFolder, 'Dockerfile.tools'),
      '--build-arg',
      `NODE=${nodeImage()}`,
    ];
    const label = ['--label', `${sourceLabel}=${nodeImage()}`];
    await build(context, [...common, ...label, '--target', 'pause', '--tag', pauseImage]);
    await build(context, [...common, ...label, '--target', 'busybox', '--tag', busyboxImage]);
  },
};

/** etcd comes from Debian with the node image; tests of the API server alone run it outside of containers. */
export const etcd: Step = {
  name: 'etcd',
  title: 'etcd',
  needs: ['node-image'],
  isDone: async () => existsSync(binaries.etcd),
  async run(context) {
    const partial = `${binaries.etcd}.${process.pid}.part`;
    await mkdir(partial, { recursive: true });
    const container = `vmstead-etcd-${process.pid}`;
    await context.run('docker', ['create', '--name', container, nodeImage()]);
    try {
      await context.run('docker', ['cp', `${container}:/usr/bin/etcd`, join(partial, 'etcd')]);
    } finally {
      await context.run('docker', ['rm', container]);
    }
    await rm(binaries.etcd, { recursive: true, force: true });
    await rename(partial, binaries.etcd);
  },
};
