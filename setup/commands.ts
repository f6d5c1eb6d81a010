import { BENCHES } from '../test/bench/measurement.ts';
import type { Command, CommandModule } from './command-module.ts';

/** A program of ours as a command; `tests`: after setting up what tests need. */
const script = async (path: string, needs: 'nothing' | 'tests'): Promise<CommandModule> => {
  const { scriptCommand } = await import('./commands/script.ts');
  return scriptCommand(path, needs);
};

export const commands: Readonly<Record<string, Command>> = {
  start: {
    summary: 'set up what is missing, start the cluster, boot a VM',
    load: () => import('./commands/start.ts'),
  },
  stop: {
    summary: 'end what start and test left running (VMSTEAD_CLUSTER: one cluster only)',
    load: () => import('./commands/stop.ts'),
  },
  cluster: {
    summary: 'only the cluster, without Vmstead in it; loads local images into its nodes',
    words: { usage: '[IMAGE...]' },
    load: () => import('./commands/cluster.ts'),
  },
  test: { summary: 'all checks and tests', load: () => import('./commands/test.ts') },
  'test:unit': {
    summary: 'the quick tests',
    passesOn: 'vitest',
    load: () => import('./commands/test-unit.ts'),
  },
  'test:long': {
    summary: 'tests that take minutes each: an installed Debian, operators with a wrong clock',
    load: () => import('./commands/test-long.ts'),
  },
  check: {
    summary: 'format, lint, types, unused code, generated files',
    load: () => import('./commands/check.ts'),
  },
  images: {
    summary: 'build the images',
    options: { push: { value: 'REGISTRY', text: 'push them too, and note them for helm and npm start' } },
    load: () => import('./commands/images.ts'),
  },
  cli: {
    summary: 'bundle kubectl-vm and vmstead',
    options: { pack: { text: 'as an npm package too, for npm install --global' } },
    load: () => import('./commands/cli.ts'),
  },
  bench: {
    summary: 'measure, and write docs/benchmarks.md',
    words: { usage: '[BENCH...]', choices: BENCHES },
    options: {
      n: {
        value: 'PAIRS',
        default: '15',
        least: 1,
        text: 'VMs and bare pods in turns, for start, api and delete',
      },
      rounds: { value: 'BURSTS', default: '3', least: 1, text: 'rounds of burst, memory, import and disk' },
      'dry-run': { text: 'write nothing down' },
    },
    load: () => script('test/bench/main.ts', 'tests'),
  },
  chaos: {
    summary: 'kill the operator at every failpoint, and write docs/chaos.md',
    words: { usage: '[FAILPOINT]', most: 1 },
    load: () => script('test/chaos/main.ts', 'tests'),
  },
  soak: {
    summary: 'random blows for a long time, and write docs/chaos.md',
    words: { usage: '[MINUTES [SEED]]', most: 2, numbers: true },
    load: () => script('test/chaos/soak.ts', 'tests'),
  },
  fuzz: {
    summary: 'import images with damaged headers for a long time',
    words: { usage: '[MINUTES [SEED]]', most: 2, numbers: true },
    load: () => script('test/chaos/images.ts', 'tests'),
  },
  generate: {
    summary: 'write the generated files again',
    load: () => script('crds/generate.ts', 'nothing'),
  },
};
