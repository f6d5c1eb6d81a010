/** The attachment pod: one job in, one disk exported for as long as a machine needs it. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { ATTACHMENT_PATH, type AttachmentJob, attachmentJob } from '../../crds/attachment.ts';
import { VmsteadError } from '../../crds/errors.ts';
import { ChannelClient } from '../channel/client.ts';
import { isConnected } from './clients.ts';
import { exportDisk } from './exporter.ts';

const EXIT_FAILED = 1;
/** Milliseconds between two looks whether the machine has let go. */
const LOOK = 200;

interface Export {
  name: string;
  key: string;
}

function readJob(path: string): AttachmentJob {
  try {
    return attachmentJob.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new VmsteadError(
      'MachineRefused',
      `the job ${path} is not one that this program understands; operator and launcher image must be of one version: ${(error as Error).message}`,
    );
  }
}

async function main(): Promise<void> {
  const run = process.env.VMSTEAD_RUN ?? ATTACHMENT_PATH.run;
  const log = pino(
    {
      level: process.env.VMSTEAD_LOG_LEVEL ?? 'info',
      // As the operator's lines: docs/logging.md.
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      base: { component: 'attachment' },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  const stop = new AbortController();
  let told = false;
  const end = async (why: string) => {
    if (told) return;
    told = true;
    log.info({ why }, 'asked to end; waiting for the machine to let go of the disk');
    // Whoever asks (a person, a drain, the operator): the disk of a running guest is not pulled out from under it
    // before the pod's grace period is over.
    while (isConnected()) await sleep(LOOK);
    stop.abort();
  };
  process.on('SIGTERM', () => void end('SIGTERM'));

  try {
    const job = readJob(process.env.VMSTEAD_JOB ?? ATTACHMENT_PATH.job);
    const { namespace, name } = job.vm;
    log.setBindings({ namespace, vm: name, disk: job.disk.name, attempt: job.attempt });
    let exporting = false;
    let receive: (what: Export) => void = () => {};
    const told = new Promise<Export>((resolve) => {
      receive = resolve;
    });
    const channel =
      job.channel &&
      new ChannelClient({
        channel: job.channel,
        tokenPath: process.env.VMSTEAD_TOKEN ?? ATTACHMENT_PATH.token,
        log,
        hello: {
          type: 'hello',
          protocol: 1,
          launcherVersion: process.env.VMSTEAD_VERSION ?? 'dev',
          kind: 'attachment',
          incarnation: job.attempt,
          restarts: 0,
        },
        report: () => ({ type: 'attachment', exporting }),
        export: receive,
        command: async () => {
          throw new VmsteadError('QmpRefused', 'an attachment pod takes no commands');
        },
        disowned: (reason) => void end(`the operator disowned this pod: ${reason}`),
      });
    void channel?.run();
    const aborted = new Promise<undefined>((resolve) =>
      stop.signal.addEventListener('abort', () => resolve(undefined), { once: true }),
    );
    const what = keptExport(run) ?? (await Promise.race([told, aborted]));
    if (what !== undefined) {
      keepExport(run, what);
      await exportDisk(
        {
          ...{ disk: job.disk, run, log, ...what },
          onChange(now) {
            exporting = now;
            channel?.changed();
          },
        },
        stop.signal,
      );
    }
    await channel?.end();
    say('Stopped', undefined, 'the machine let go of the disk');
  } catch (error) {
    const code = error instanceof VmsteadError ? error.code : 'DiskUnusable';
    log.error({ code }, (error as Error).message);
    say('DiskUnusable', code, (error as Error).message);
    process.exitCode = EXIT_FAILED;
  }
  process.exit();
}

/** The key survives this program, not its pod: an operator that is away keeps no disk from coming back. */
const exportFile = (run: string): string => join(run, 'export.json');

function keptExport(run: string): Export | undefined {
  try {
    return JSON.parse(readFileSync(exportFile(run), 'utf8')) as Export;
  } catch {
    return undefined;
  }
}

function keepExport(run: string, what: Export): void {
  const next = `${exportFile(run)}.next`;
  writeFileSync(next, JSON.stringify(what), { mode: 0o600 });
  renameSync(next, exportFile(run));
}

function say(result: 'Stopped' | 'DiskUnusable', code: string | undefined, message: string): void {
  const at = new Date().toISOString();
  const text = JSON.stringify({ result, ...(code ? { code } : {}), message: message.slice(0, 1024), at });
  try {
    writeFileSync(process.env.VMSTEAD_TERMINATION_LOG ?? ATTACHMENT_PATH.terminationLog, text);
  } catch {}
}

/** What nobody foresaw: the pod ends, and another one takes its place. */
function crash(error: unknown): never {
  process.stderr.write(
    `${JSON.stringify({ level: 'fatal', component: 'attachment', message: error instanceof Error ? error.stack : String(error) })}\n`,
  );
  process.exit(EXIT_FAILED);
}

process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);
void main();
