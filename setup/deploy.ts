import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Images } from '../images/build.ts';
import { binaries, root, stateDirectory } from './paths.ts';

/** Where `npm run images -- --push` notes what it pushed. */
export const pushedImagesPath = join(stateDirectory, 'pushed-images.json');

/** Where the chart goes unless told otherwise. */
export const releaseNamespace = 'vmstead-system';

/** The set-up's helm, or a person's own where the set-up did not have to build one. */
export function helmPath(): string {
  const built = join(binaries.helm, 'helm');
  return existsSync(built) ? built : 'helm';
}

/**
 * Installs or upgrades the chart and waits until its pods are ready.
 *
 * @param values more chart values, as `name=value`
 * @throws Error with what helm said
 */
export async function deploy(
  kubeconfig: string,
  images: Images,
  values: readonly string[] = [],
): Promise<void> {
  const set = [
    ...Object.entries(images).map(([name, reference]) => `images.${name}=${reference}`),
    ...values,
  ];
  try {
    await promisify(execFile)(helmPath(), [
      ...['upgrade', '--install', 'vmstead', join(root, 'helm'), '--kubeconfig', kubeconfig],
      ...['--namespace', releaseNamespace, '--create-namespace', '--wait', '--timeout', '120s'],
      ...set.flatMap((value) => ['--set', value]),
    ]);
  } catch (error) {
    throw new Error(
      `helm could not install the chart: ${(error as { stderr?: string }).stderr?.trim() ?? error}`,
    );
  }
}
