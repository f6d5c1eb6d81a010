import { once } from 'node:events';
import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stateDirectory } from '../paths.ts';
import { stepsFor } from './order.ts';
import type { Reporter } from './reporter.ts';
import { runLogged } from './run.ts';
import { SetupError, type Step, type StepContext } from './step.ts';

const tailLines = 25;
/** Milliseconds that running steps get to end after one has failed. */
const patience = 2000;

async function runStep(step: Step, logPath: string, reporter: Reporter, signal: AbortSignal): Promise<void> {
  const log = (await open(logPath, 'w')).createWriteStream();
  const write = (line: string): void => {
    log.write(`${line}\n`);
  };
  const context: StepContext = {
    log: write,
    progress: (fraction, note) => reporter.progress(step, fraction, note),
    run: (command, args, options) => runLogged(write, command, args, options, signal),
  };
  reporter.started(step);
  try {
    await step.run(context);
    if (!(await step.isDone()))
      throw new Error(`${step.name} ran to its end, but what it makes is not there`);
  } catch (error) {
    write(String(error));
    await new Promise((resolve) => log.end(resolve));
    // One that was ended because another one failed has nothing to say.
    if (signal.aborted) throw error;
    reporter.failed(step);
    if (error instanceof SetupError) throw error;
    const tail = (await readFile(logPath, 'utf8')).trimEnd().split('\n').slice(-tailLines);
    throw new Error(
      `${step.title} failed. The end of its log (all of it in ${logPath}):\n${tail.map((line) => `  ${line}`).join('\n')}`,
    );
  }
  await new Promise((resolve) => log.end(resolve));
  reporter.done(step);
}

/**
 * Does what is not done of the wanted steps and those they need; independent ones side by side.
 *
 * @throws Error of the first step that failed; programs of the others are ended
 */
export async function runSteps(
  all: readonly Step[],
  wanted: readonly string[],
  reporter: Reporter,
): Promise<void> {
  const logs = join(stateDirectory, 'logs', 'setup');
  await mkdir(logs, { recursive: true });
  const finished = new Map<string, Promise<void>>();
  const lanes = new Map<string, Promise<unknown>>();
  const stop = new AbortController();
  let failure: unknown;

  const execute = async (step: Step): Promise<void> => {
    await Promise.all(step.needs.map((need) => finished.get(need)));
    if (await step.isDone()) return;
    const turn = step.lane ? (lanes.get(step.lane) ?? Promise.resolve()) : Promise.resolve();
    const work = turn
      .catch(() => {})
      .then(async () => {
        if (failure) throw failure;
        await runStep(step, join(logs, `${step.name}.log`), reporter, stop.signal);
      });
    if (step.lane) lanes.set(step.lane, work);
    await work;
  };
  reporter.begin();
  try {
    for (const step of stepsFor(all, wanted)) {
      const promise = execute(step).catch((error) => {
        failure ??= error;
        stop.abort();
        throw error;
      });
      finished.set(step.name, promise);
    }
    const failed = once(stop.signal, 'abort').then(() => sleep(patience));
    await Promise.race([Promise.allSettled(finished.values()), failed]);
  } finally {
    reporter.end();
  }
  if (failure) throw failure;
}
