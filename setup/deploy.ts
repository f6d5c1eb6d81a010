import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Images } from '../images/build.ts';
import { kubectl } from '../test/cluster/kubectl.ts';
import { binaries, root, stateDirectory } from './paths.ts';
import { SetupError } from './steps/step.ts';

/** Where `npm run images -- --push` notes what it pushed, as chart values. */
export const pushedImagesPath = join(stateDirectory, 'pushed-images.json');

/** Where it notes the example's guest, which the chart knows nothing of. */
export const pushedGuestPath = join(stateDirectory, 'pushed-guest.json');

/** The image that examples/vm.yaml boots. */
export const exampleGuest = 'vmstead/guest-tiny:dev';

/**
 * What `npm run images -- --push` pushed last, for a cluster that is not on this machine.
 *
 * @throws SetupError when it has not been run
 */
export async function pushedImages(): Promise<{ images: Images; guest: string }> {
  try {
    const { images } = JSON.parse(await readFile(pushedImagesPath, 'utf8')) as { images: Images };
    const { guest } = JSON.parse(await readFile(pushedGuestPath, 'utf8')) as { guest: string };
    return { images, guest };
  } catch {
    throw new SetupError(
      'your cluster needs the images in a registry: run "npm run images -- --push REGISTRY" first',
    );
  }
}

/** Where the chart goes unless told otherwise. */
export const releaseNamespace = 'vmstead-system';

/** How long helm may wait for the pods. */
const timeoutSeconds = 120;

/** The set-up's helm, or a person's own where the set-up did not have to build one. */
export function helmPath(): string {
  const built = join(binaries.helm, 'helm');
  return existsSync(built) ? built : 'helm';
}

/** Helm's words when an earlier run of it was cut off: its record says for ever that it is at work. */
const cutOff = /another operation .* is in progress/;

/** Forgets upgrades that were cut off: those that are older than any of ours may take. */
async function forgetCutOff(kubeconfig: string): Promise<void> {
  const selector = ['--namespace', releaseNamespace, '--selector', 'owner=helm,name=vmstead'];
  const list = JSON.parse(await kubectl(kubeconfig, ['get', 'secrets', ...selector, '--output', 'json'])) as {
    items: { metadata: { name: string; creationTimestamp: string; labels: { status: string } } }[];
  };
  for (const { metadata } of list.items) {
    const age = Date.now() - Date.parse(metadata.creationTimestamp);
    if (metadata.labels.status.startsWith('pending-') && age > (timeoutSeconds + 15) * 1000) {
      await kubectl(kubeconfig, ['delete', 'secret', metadata.name, '--namespace', releaseNamespace]);
    }
  }
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
  const helm = (): Promise<unknown> =>
    promisify(execFile)(helmPath(), [
      ...['upgrade', '--install', 'vmstead', join(root, 'helm'), '--kubeconfig', kubeconfig],
      ...['--namespace', releaseNamespace, '--create-namespace', '--wait', '--timeout', `${timeoutSeconds}s`],
      ...set.flatMap((value) => ['--set', value]),
    ]);
  const words = (error: unknown): string => (error as { stderr?: string }).stderr?.trim() ?? String(error);
  for (let attempt = 1; ; attempt++) {
    try {
      await helm();
      return;
    } catch (error) {
      // It may also be another command of this checkout that is at work: it ends by itself.
      if (!cutOff.test(words(error)) || attempt > timeoutSeconds / 5) {
        throw new Error(`helm could not install the chart: ${words(error)}`);
      }
      await forgetCutOff(kubeconfig);
      await sleep(5000);
    }
  }
}
