import { baseImage } from './base-image.ts';
import { cli } from './cli.ts';
import { debianPackages, shells } from './debian-packages.ts';
import { dockerEngine } from './docker-engine.ts';
import { runSteps } from './engine.ts';
import { goSteps } from './go-build.ts';
import { fullGuest, tinyGuest } from './guests.ts';
import { etcd, nodeImageStep, nodeToolImages } from './node-image.ts';
import { reporterFor } from './reporter.ts';
import type { Step } from './step.ts';

/** Every step of the set-up. A new one: write its file, add it here and to those of the lists below that need it. */
const steps: readonly Step[] = [
  debianPackages,
  dockerEngine,
  baseImage,
  ...goSteps,
  nodeImageStep,
  nodeToolImages,
  etcd,
  tinyGuest,
  fullGuest,
  cli,
  shells,
];

/** What the local cluster needs. */
export const clusterSteps = [
  ...['debian-packages', 'docker-engine', 'node-image', 'node-tool-images'],
  ...['kubernetes', 'containerd', 'coredns', 'localPathProvisioner'],
];

/** What building product and guest images needs. */
export const imageSteps = ['docker-engine', 'base-image'];

/** What installing the chart needs. */
export const chartSteps = ['helm'];

/** The guest of examples/vm.yaml. */
export const exampleSteps = ['guest-tiny'];

/** What the bare API server of the tests needs. */
const apiServerSteps = ['debian-packages', 'kubernetes', 'etcd'];

/** What the remaining tests need. */
export const testSteps = [
  ...clusterSteps,
  ...imageSteps,
  ...chartSteps,
  ...apiServerSteps,
  'promtool',
  'registry',
  'kstatus',
  'csi',
  'guest-tiny',
  'guest-full',
  'cli',
  'shells',
];

/**
 * Does what is missing of the wanted steps, and shows it.
 *
 * @param more a command's own steps
 */
export async function setUp(wanted: readonly string[], more: readonly Step[] = []): Promise<void> {
  await runSteps([...steps, ...more], wanted, reporterFor(process.stdout));
}
