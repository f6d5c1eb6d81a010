/** The mover of a pod: one job in, one image in its claim, one result in the termination message. */
import { readFileSync, writeFileSync } from 'node:fs';
import pino from 'pino';
import { MOVER_PATH, type MoverJob, type MoverResult, moverJob } from '../crds/mover.ts';
import { ChannelClient } from '../launcher/channel/client.ts';
import { MoverFailure } from './failure.ts';
import { Progress } from './progress.ts';
import { run } from './run.ts';

const EXIT_FAILED = 1;
/** Milliseconds between two reports of progress. */
const REPORT_INTERVAL = 1000;

function readJob(path: string): MoverJob {
  try {
    return moverJob.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new MoverFailure(
      'MoverFailed',
      `the job ${path} is not one that this mover understands; operator and launcher image must be of one version: ${(error as Error).message}`,
    );
  }
}

async function main(): Promise<void> {
  const log = pino(
    { level: process.env.VMSTEAD_LOG_LEVEL ?? 'info', base: { component: 'mover' } },
    pino.destination({ fd: 2, sync: true }),
  );
  const end = (result: MoverResult) => {
    log.info({ ...result }, 'ended');
    try {
      writeFileSync(process.env.VMSTEAD_TERMINATION_LOG ?? MOVER_PATH.terminationLog, JSON.stringify(result));
    } catch {}
    process.exitCode = result.result === 'Succeeded' ? 0 : EXIT_FAILED;
  };
  let job: MoverJob;
  try {
    job = readJob(process.env.VMSTEAD_JOB ?? MOVER_PATH.job);
  } catch (error) {
    const message = (error as Error).message.slice(0, 1024);
    end({ result: 'Failed', code: 'MoverFailed', message, retry: false, at: new Date().toISOString() });
    return;
  }
  log.setBindings({ namespace: job.image.namespace, image: job.image.name, attempt: job.attempt });

  const progress = new Progress();
  const stop = new AbortController();
  const interrupt = (reason: string) =>
    stop.abort(
      new MoverFailure('MoverInterrupted', `the import was interrupted: ${reason}`, { retry: true }),
    );
  process.on('SIGTERM', () => interrupt('the pod was told to end'));

  let now = progress.now(performance.now());
  const channel =
    job.channel &&
    new ChannelClient({
      channel: job.channel,
      tokenPath: process.env.VMSTEAD_TOKEN ?? MOVER_PATH.token,
      log,
      hello: {
        type: 'hello',
        protocol: 1,
        launcherVersion: process.env.VMSTEAD_VERSION ?? 'dev',
        kind: 'mover',
        incarnation: job.attempt,
        restarts: 0,
      },
      report: () => ({ type: 'progress', progress: now }),
      command: async () => {
        throw new MoverFailure('MoverFailed', 'a mover takes no commands');
      },
      disowned: (reason) => interrupt(`the operator disowned this pod: ${reason}`),
    });
  void channel?.run();
  let told: string | undefined;
  const ticker = setInterval(() => {
    now = progress.now(performance.now());
    channel?.changed();
    if (now.message !== told) {
      told = now.message;
      if (told !== undefined) log.info({ phase: now.phase }, told);
    }
  }, REPORT_INTERVAL);

  const result = await run(job, {
    progress,
    signal: stop.signal,
    log: (message) => log.info(message),
    listening: (port) => log.info({ port }, 'an upload can begin'),
  });
  clearInterval(ticker);
  now = progress.now(performance.now());
  await channel?.end();
  end(result);
  process.exit();
}

/** What nobody foresaw. The image is published or not; another attempt finds out. */
function crash(error: unknown): never {
  process.stderr.write(
    `${JSON.stringify({ level: 60, component: 'mover', msg: error instanceof Error ? error.stack : String(error) })}\n`,
  );
  process.exit(EXIT_FAILED);
}

process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);
void main();
