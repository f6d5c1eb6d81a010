import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROGRAMS } from '../../cli/package/build.ts';
import { buildImages, type Images } from '../../images/build.ts';
import { clusterProvider, clusterSource } from '../../test/cluster/index.ts';
import { kubectl, kubectlPath } from '../../test/cluster/kubectl.ts';
import type { Cluster } from '../../test/cluster/provider.ts';
import { deploy, exampleGuest, helmPath, pushedImages } from '../deploy.ts';
import { root, stateDirectory } from '../paths.ts';
import { chartSteps, clusterSteps, exampleSteps, imageSteps, setUp } from '../steps/index.ts';
import { hasProgram } from '../steps/packages.ts';
import { elapsed } from '../steps/reporter.ts';
import { SetupError, type Step, type StepContext } from '../steps/step.ts';
import { proof, type VirtualMachineView, vmIsUp, waitingFor } from './proof.ts';

const example = 'examples/vm.yaml';
const guestTimeout = 180_000;

/** A step that is asked for each time; what it makes is seen when it has run. */
function always(
  name: string,
  title: string,
  needs: readonly string[],
  run: (context: StepContext) => Promise<void>,
): Step {
  let done = false;
  return {
    name,
    title,
    needs,
    isDone: async () => done,
    async run(context) {
      await run(context);
      done = true;
    },
  };
}

/** The example with the guest's image where the cluster finds it; what people read in it stays as it is. */
async function exampleManifest(guest: string): Promise<string> {
  const manifest = await readFile(join(root, example), 'utf8');
  return manifest.replaceAll(exampleGuest, guest);
}

async function readVm(kubeconfig: string): Promise<VirtualMachineView> {
  return JSON.parse(
    await kubectl(kubeconfig, ['get', '--filename', join(root, example), '--output', 'json']),
  );
}

/** Applies the example and waits for its guest. @throws Error with what the VM says it waits for */
async function bootExample(context: StepContext, kubeconfig: string, guest: string): Promise<void> {
  await kubectl(kubeconfig, ['apply', '--filename', '-'], await exampleManifest(guest));
  const deadline = Date.now() + guestTimeout;
  for (;;) {
    const vm = await readVm(kubeconfig);
    if (vmIsUp(vm)) return;
    context.progress(undefined, waitingFor(vm));
    if (Date.now() > deadline) {
      throw new Error(`the guest is not up after ${guestTimeout / 1000} s: ${waitingFor(vm)}`);
    }
    await sleep(300);
  }
}

/** @throws SetupError naming those of kubectl and helm that are neither built here nor a person's own */
async function requirePrograms(): Promise<void> {
  const missing: string[] = [];
  for (const path of [kubectlPath(), helmPath()]) {
    if (!isAbsolute(path) && !(await hasProgram(path))) missing.push(path);
  }
  if (missing.length > 0) throw new SetupError(`for a cluster of your own install ${missing.join(' and ')}`);
}

/** Puts kubectl, helm and the programs of this set-up where a person can add one folder to the PATH. */
async function linkPrograms(): Promise<string> {
  const folder = join(stateDirectory, 'bin');
  await mkdir(folder, { recursive: true });
  const programs = {
    kubectl: kubectlPath(),
    helm: helmPath(),
    ...Object.fromEntries(PROGRAMS.map((name) => [name, join(root, 'cli', 'bin', name)])),
  };
  for (const [name, path] of Object.entries(programs)) {
    if (!existsSync(path)) continue;
    await rm(join(folder, name), { force: true });
    await symlink(path, join(folder, name));
  }
  return folder;
}

/** Sets up what is missing, starts the cluster, installs the chart, boots the example, and proves it. */
export async function run(): Promise<number> {
  const start = Date.now();
  const source = clusterSource();
  if (source !== 'local') await requirePrograms();
  /** Steps that are only needed where the images, or the cluster too, are made here. */
  const forImages = (names: readonly string[]): readonly string[] => (source === 'own' ? [] : names);
  const forCluster = (names: readonly string[]): readonly string[] => (source === 'local' ? names : []);
  let images: Images | undefined;
  let guest = exampleGuest;
  let cluster: Cluster | undefined;
  const built = Promise.withResolvers<readonly string[]>();
  const report =
    (context: StepContext) =>
    (message: string): void => {
      context.log(message);
      context.progress(undefined, message);
    };
  const steps = [
    always('images', 'Images', forImages(imageSteps), async (context) => {
      if (source === 'own') ({ images, guest } = await pushedImages());
      else images = await buildImages({ report: report(context) });
      built.resolve(Object.values(images));
    }),
    always('cluster', 'Cluster', forCluster(clusterSteps), async (context) => {
      cluster = await clusterProvider().ensure(report(context), built.promise);
    }),
    always('load', 'Images on the nodes', ['cluster', 'images', ...forImages(exampleSteps)], async () => {
      await cluster!.loadImages([...Object.values(images!), guest]);
    }),
    always('chart', 'Helm chart', ['load', ...forCluster(chartSteps)], async () => {
      await deploy(cluster!.kubeconfigPath, images!);
    }),
    always('vm', `VM of ${example}`, ['chart'], async (context) => {
      await bootExample(context, cluster!.kubeconfigPath, guest);
    }),
  ];
  await setUp(['vm', 'cli'], steps);

  const kubeconfig = cluster!.kubeconfigPath;
  const vm = await readVm(kubeconfig);
  const { name, namespace } = vm.metadata;
  const log = await kubectl(kubeconfig, [
    ...['logs', '--namespace', namespace, vm.status?.launcher?.podName ?? '', '--limit-bytes', '100000'],
  ]);
  console.log(`\n${proof(vm, log)}\n`);
  const folder = relative(process.cwd(), await linkPrograms());
  console.log(`All of it took ${elapsed(Date.now() - start)}. Next:`);
  console.log(
    `  export PATH="$PWD/${folder}:$PATH" KUBECONFIG="$PWD/${relative(process.cwd(), kubeconfig)}"`,
  );
  console.log(`  kubectl get vm --output wide`);
  console.log(`  kubectl vm console ${name}`);
  console.log(`  kubectl vm stop ${name}`);
  return 0;
}
