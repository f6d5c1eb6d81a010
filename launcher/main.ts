/** The launcher of a pod: one machine description in, one VM, one exit code out. */
import { readFileSync } from 'node:fs';
import { VmsteadError } from '../crds/errors.ts';
import { machineDescription, POD_PATH } from '../crds/machine-description.ts';
import { giveBackLater, keepPatternsSmall } from './give-back.ts';
import { EarlyLog } from './log.ts';
import { launcherPaths } from './paths.ts';
import { runConsole } from './serial/console.ts';
import {
  type Ending,
  EXIT_CODE,
  endingOf,
  terminationMessage,
  writeTerminationMessage,
} from './vm/ending.ts';
import { Life } from './vm/life.ts';
import { stop } from './vm/stop.ts';
import { Vm } from './vm/vm.ts';

const QEMU = 'qemu-system-x86_64';

function readDescription(path: string) {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new VmsteadError(
      'MachineRefused',
      `cannot read the machine description ${path}: ${(error as Error).message}`,
    );
  }
  const parsed = machineDescription.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new VmsteadError(
    'MachineRefused',
    `the machine description is not one that this launcher understands (${issue?.path.join('.')}: ${issue?.message}); operator and launcher must be of one version`,
  );
}

function main(): void {
  const paths = launcherPaths(
    process.env.VMSTEAD_RUN ?? POD_PATH.run,
    process.env.VMSTEAD_SCRATCH ?? POD_PATH.scratch,
  );
  if (process.argv[2] === 'console') {
    runConsole(paths.viewers);
    return;
  }
  if (process.argv[2] === 'export') {
    void import('./export/exporter.ts').then(({ runExport }) =>
      runExport(paths.exports, process.argv[3] ?? '{}'),
    );
    return;
  }
  const log = new EarlyLog();
  const tell = (ending: Ending) => {
    writeTerminationMessage(paths.terminationLog, terminationMessage(ending, new Date()));
    process.exitCode = EXIT_CODE[ending.result];
  };
  try {
    const description = readDescription(paths.machine);
    const life = Life.open(paths.runDirectory);
    if (description.task === 'Layers') {
      import('./snapshot/offline.ts').then(async ({ lookAfterLayers }) => {
        tell(await lookAfterLayers(description, life, paths.token));
        process.exit();
      }, crash);
      return;
    }
    let changed = () => {};
    const vm = new Vm({ description, paths, life, log, program: QEMU, onChange: () => changed() });
    process.on('SIGTERM', () => void stop(vm));
    vm.begin();
    if (life.stopRequestedAt() !== undefined) void stop(vm);
    // QEMU is starting; what follows has time, and is loaded only now.
    const services = import('./services.ts').then(({ startServices }) => {
      keepPatternsSmall();
      const started = startServices(vm, log);
      changed = started.changed;
      giveBackLater();
      return started;
    });
    vm.ended
      .then(async (ending) => {
        log.info({ result: ending.result, code: ending.code, reason: ending.message }, 'the VM ended');
        await (await services).end();
        tell(ending);
        process.exit();
      })
      .catch(crash);
  } catch (error) {
    tell(endingOf(error));
    process.stderr.write(`${lastLine('error', String(error))}\n`);
  }
}

/** A line as the logger writes it, where there is no logger. */
function lastLine(level: 'error' | 'fatal', message: string): string {
  return JSON.stringify({ level, time: new Date().toISOString(), component: 'launcher', message });
}

/** What nobody foresaw: end, and let a new launcher take QEMU over. */
function crash(error: unknown): never {
  process.stderr.write(
    `${lastLine('fatal', error instanceof Error ? (error.stack ?? error.message) : String(error))}\n`,
  );
  process.exit(1);
}

process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);
main();
