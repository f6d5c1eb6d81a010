import type { CommandModule } from './command-module.ts';

interface Command {
  summary: string;
  /** Loaded when it is called, so that one command's faults are not another's. */
  load(): Promise<CommandModule>;
}

/** A program of ours as a command; `tests`: after setting up what tests need. */
const script = async (path: string, needs: 'nothing' | 'tests'): Promise<CommandModule> => {
  const { scriptCommand } = await import('./commands/script.ts');
  return scriptCommand(path, needs);
};

export const commands: Record<string, Command> = {
  start: { summary: 'set up, start the cluster, boot a VM', load: () => import('./commands/start.ts') },
  stop: { summary: 'end what start (and test) left running', load: () => import('./commands/stop.ts') },
  cluster: { summary: 'only the cluster, and images into it', load: () => import('./commands/cluster.ts') },
  test: { summary: 'all checks and tests', load: () => import('./commands/test.ts') },
  'test:unit': { summary: 'the quick tests', load: () => import('./commands/test-unit.ts') },
  check: { summary: 'format, types, lint, unused code', load: () => import('./commands/check.ts') },
  images: { summary: 'build the images (--push REGISTRY)', load: () => import('./commands/images.ts') },
  bench: { summary: 'measure', load: () => script('test/bench/main.ts', 'tests') },
  chaos: { summary: 'kill every part at every failpoint', load: () => script('test/chaos/main.ts', 'tests') },
  soak: { summary: 'random kills for a long time', load: () => script('test/chaos/soak.ts', 'tests') },
  generate: { summary: 'write the generated files again', load: () => script('crds/generate.ts', 'nothing') },
};
