import { existsSync } from 'node:fs';
import { chmod, copyFile, cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type BinaryFolder, binaries, csiModule, root } from '../paths.ts';
import {
  CONTAINERD_VERSION,
  COREDNS_VERSION,
  HELM_VERSION,
  KUBERNETES_VERSION,
  LOCAL_PATH_PROVISIONER_VERSION,
  PROMETHEUS_VERSION,
  REGISTRY_VERSION,
} from '../versions.ts';
import { hasProgram } from './packages.ts';
import { SetupError, type Step, type StepContext } from './step.ts';

/** Static binaries; the right Go comes from the module proxy when the machine's own is older. */
const environment = {
  CGO_ENABLED: '0',
  GOTOOLCHAIN: 'auto',
  GOWORK: 'off',
  GOFLAGS: '-buildvcs=false -mod=readonly',
};

interface GoProgram {
  folder: BinaryFolder;
  title: string;
  module: string;
  version: string;
  /** Paths of commands within the module. */
  commands: readonly string[];
  tags?: string;
  linkerFlags?: string;
}

/**
 * Compiles commands into the folder's place in the cache: made aside, then renamed, so it is whole or not there.
 *
 * @param add puts more into the folder before it takes its place
 */
async function compile(
  context: StepContext,
  directory: string,
  program: GoProgram,
  packages: readonly string[],
  add: (folder: string) => Promise<void> = async () => {},
): Promise<void> {
  const flags = ['-trimpath', ...(program.tags ? ['-tags', program.tags] : [])];
  let total = 0;
  await context.run('go', ['list', '-deps', ...flags.slice(1), ...packages], {
    cwd: directory,
    env: environment,
    onLine: (line) => {
      if (!line.startsWith('go: ')) total++;
    },
  });
  const target = binaries[program.folder];
  const partial = `${target}.${process.pid}.part`;
  await mkdir(partial, { recursive: true });
  let compiled = 0;
  await context.run(
    'go',
    [
      ...['build', '-v', ...flags, '-ldflags', `-s -w ${program.linkerFlags ?? ''}`.trim()],
      ...['-o', `${partial}/`, ...packages],
    ],
    {
      cwd: directory,
      env: environment,
      onLine: (line) => {
        if (!line.startsWith('go: '))
          context.progress(Math.min(++compiled / total, 0.98), `${compiled}/${total}`);
      },
    },
  );
  await add(partial);
  await rm(target, { recursive: true, force: true });
  await rename(partial, target);
}

/** Fetches a module at a version and returns its folder (read-only, checked against the checksum database). */
async function download(context: StepContext, module: string, version: string): Promise<string> {
  const lines: string[] = [];
  await context.run('go', ['mod', 'download', '-json', `${module}@${version}`], {
    env: environment,
    onLine: (line) => {
      if (!line.startsWith('go: ')) lines.push(line);
    },
  });
  return (JSON.parse(lines.join('\n')) as { Dir: string }).Dir;
}

async function requireGo(): Promise<void> {
  if (await hasProgram('go')) return;
  throw new SetupError(
    'Go 1.24 or newer is needed to build Kubernetes: install it, or use a cluster of your own with VMSTEAD_KUBECONFIG',
  );
}

function goStep(program: GoProgram, run: (context: StepContext) => Promise<void>): Step {
  return {
    name: program.folder,
    title: program.title,
    needs: [],
    lane: 'go',
    isDone: async () => existsSync(binaries[program.folder]),
    async run(context) {
      await requireGo();
      await mkdir(dirname(binaries[program.folder]), { recursive: true });
      context.progress(undefined, 'fetching modules');
      await run(context);
    },
  };
}

/** A program built in its own module, with the versions of its dependencies that it was released with. */
function released(program: GoProgram): Step {
  return goStep(program, async (context) => {
    const directory = await download(context, program.module, program.version);
    const packages = program.commands.map((command) => (command === '' ? '.' : `./${command}`));
    await compile(context, directory, program, packages);
  });
}

const kubernetesCommands = [
  ...['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy', 'kubectl'],
].map((name) => `cmd/${name}`);

/** Kubernetes replaces its staging modules by folders that its module does not carry: ours names the released ones. */
const kubernetes: GoProgram = {
  folder: 'kubernetes',
  title: `Kubernetes ${KUBERNETES_VERSION}`,
  module: 'k8s.io/kubernetes',
  version: KUBERNETES_VERSION,
  commands: kubernetesCommands,
  linkerFlags: `-X k8s.io/component-base/version.gitVersion=${KUBERNETES_VERSION}`,
};

const kubernetesStep = goStep(kubernetes, async (context) => {
  const directory = await mkdtemp(join(tmpdir(), 'vmstead-kubernetes-'));
  try {
    await cp(join(root, 'setup', 'kubernetes'), directory, { recursive: true });
    await compile(
      context,
      directory,
      kubernetes,
      kubernetes.commands.map((command) => `${kubernetes.module}/${command}`),
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

const kstatus: GoProgram = {
  folder: 'kstatus',
  title: 'kstatus',
  module: 'vmstead.example/kstatus',
  version: '',
  commands: ['.'],
};

/** What GitOps tools make of a status, by their own library. */
const kstatusStep = goStep(kstatus, (context) =>
  compile(context, join(root, 'setup', 'kstatus'), kstatus, kstatus.commands),
);

const csi: GoProgram = {
  folder: 'csi',
  title: 'CSI driver and its sidecars',
  module: 'vmstead.example/csi-driver',
  version: '',
  commands: ['.', 'tool'],
};

/** Kinds that snapshots are made of, in the plural. */
const snapshotKinds = ['volumesnapshotclasses', 'volumesnapshotcontents', 'volumesnapshots'];
const snapshotModule = 'github.com/kubernetes-csi/external-snapshotter/client/v8';

/** Ours, with the sidecars that every CSI driver has: one module, so that they share what they are made of. */
const csiStep = goStep(csi, (context) =>
  compile(context, csiModule, csi, csi.commands, async (folder) => {
    const lines: string[] = [];
    await context.run('go', ['list', '-m', '-f', '{{.Dir}}', snapshotModule], {
      cwd: csiModule,
      env: environment,
      onLine: (line) => lines.push(line),
    });
    for (const kind of snapshotKinds) {
      const target = join(folder, `${kind}.yaml`);
      await copyFile(
        join(lines.at(-1) ?? '', 'config', 'crd', `snapshot.storage.k8s.io_${kind}.yaml`),
        target,
      );
      // Files of modules are read-only, and so would be the folder's next version.
      await chmod(target, 0o644);
    }
  }),
);

export const goSteps: readonly Step[] = [
  kubernetesStep,
  kstatusStep,
  released({
    folder: 'containerd',
    title: `containerd ${CONTAINERD_VERSION}`,
    module: 'github.com/containerd/containerd/v2',
    version: CONTAINERD_VERSION,
    commands: ['cmd/containerd', 'cmd/containerd-shim-runc-v2', 'cmd/ctr'],
    tags: 'no_btrfs',
    linkerFlags: `-X github.com/containerd/containerd/v2/version.Version=${CONTAINERD_VERSION}`,
  }),
  released({
    folder: 'coredns',
    title: `CoreDNS ${COREDNS_VERSION}`,
    module: 'github.com/coredns/coredns',
    version: COREDNS_VERSION,
    commands: [''],
  }),
  released({
    folder: 'localPathProvisioner',
    title: `local-path-provisioner ${LOCAL_PATH_PROVISIONER_VERSION}`,
    module: 'github.com/rancher/local-path-provisioner',
    version: LOCAL_PATH_PROVISIONER_VERSION,
    commands: [''],
  }),
  released({
    folder: 'helm',
    title: `Helm ${HELM_VERSION}`,
    module: 'helm.sh/helm/v4',
    version: HELM_VERSION,
    commands: ['cmd/helm'],
  }),
  released({
    folder: 'promtool',
    title: 'promtool',
    module: 'github.com/prometheus/prometheus',
    version: PROMETHEUS_VERSION,
    commands: ['cmd/promtool'],
    // Only its checks are used: none of the cloud clients that find targets.
    tags: 'remove_all_sd',
  }),
  released({
    folder: 'registry',
    title: 'OCI registry for tests',
    module: 'github.com/google/go-containerregistry',
    version: REGISTRY_VERSION,
    commands: ['cmd/registry'],
  }),
  csiStep,
];
