/** `export`: a disk of a VM as a file of this machine. */
import { access } from 'node:fs/promises';
import { basename } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { V1Status } from '@kubernetes/client-node';
import { BrokenOffError, ByteQueue } from '../../crds/byte-queue.ts';
import { VmsteadError } from '../../crds/errors.ts';
import { EXPORT_DONE, type ExportRequest } from '../../crds/export.ts';
import { isForbidden } from '../../operator/kube/errors.ts';
import { type Cluster, connect, getVm } from '../cluster.ts';
import { openExec, type RunningExec } from '../exec.ts';
import { ProgressBar } from '../image/progress-bar.ts';
import type { Invocation } from '../invocation.ts';
import type { Io } from '../io.ts';
import { usage } from '../usage.ts';
import { parseDuration, vmName } from '../values.ts';
import { FORMATS, formatOf } from './formats/formats.ts';
import { PartFile } from './part.ts';
import { receiveBegin, receiveRecords } from './receive.ts';

const COMMAND = '/usr/lib/vmstead/export';
const DEFAULT_TIMEOUT = '5m';
const LOOK_AGAIN = 1000;
/** Milliseconds. */
const LONGEST_GOODBYE = 5000;
const INTERRUPTED = 130;

export async function exportDisk({ options, names: [given = ''], io }: Invocation): Promise<void> {
  const name = vmName(given);
  const timeoutMs = parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  const output = options.output;
  if (output === undefined) throw usage('export needs -o FILE', 'export');
  const format = formatOf(output);
  if (format === undefined) {
    const endings = Object.keys(FORMATS).map((each) => `.${each}`);
    throw usage(`the name of the file tells the format: ${endings.join(', ')} or .img`, 'export');
  }
  if (
    await access(output).then(
      () => true,
      () => false,
    )
  ) {
    throw usage(`${output} is there already; give another name, or remove it first`, 'export');
  }
  const cluster = await connect(options);
  const vm = await getVm(cluster, name);
  const { snapshot, disk } = options;
  const part = await PartFile.open(output, { vm: vm.metadata.uid ?? '', snapshot, disk, format });
  const onSignal = () => {
    process.stderr.write(`\n${howToGoOn(part, snapshot)}\n`);
    process.exit(INTERRUPTED);
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    const request: ExportRequest = {
      ...(disk === undefined ? {} : { disk }),
      ...(snapshot === undefined ? {} : { snapshot }),
    };
    await untilWhole(cluster, name, part, request, timeoutMs, io);
    io.note('Making the file whole, and reading it for its checksum');
    const sha256 = await part.finish();
    const { disk: exported, at, consistency } = part.begin!;
    io.note(`Disk ${exported} of ${name} as it was at ${at} (${consistency} consistent)`);
    io.print(`${sha256}  ${basename(output)}`);
  } catch (error) {
    await part.close();
    if (!(error instanceof VmsteadError) || part.begin === undefined) throw error;
    throw new VmsteadError(error.code, `${error.message}; ${howToGoOn(part, snapshot)}`, { cause: error });
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

function howToGoOn({ path }: PartFile, snapshot: string | undefined): string {
  return snapshot === undefined
    ? `${path} is kept: the same command goes on with it within two minutes, and begins anew after that`
    : `${path} is kept: the same command goes on with it`;
}

/** Connects as often as it takes. @throws VmsteadError */
async function untilWhole(
  cluster: Cluster,
  name: string,
  part: PartFile,
  request: ExportRequest,
  timeoutMs: number,
  io: Io,
): Promise<void> {
  const progress = new Progress(io);
  let deadline = Date.now() + timeoutMs;
  let told = part.begin !== undefined;
  if (told) io.note(`Going on with ${part.path}`);
  try {
    for (;;) {
      const from = part.from;
      try {
        const { id } = part.begin ?? {};
        const asked = { ...request, ...(id === undefined ? {} : { id, from: part.from }) };
        await once(cluster, await podOf(cluster, name), asked, part, progress);
        return;
      } catch (error) {
        const lost = error instanceof VmsteadError && error.code === 'ExportLost';
        if (lost && told) {
          // Of a run before this one: nothing of this one is lost by it.
          io.note(`What ${part.path} was begun with is there no more; beginning anew`);
          await part.forget();
        } else if (mayPass(error)) {
          progress.say((error as Error).message);
          await part.goBack();
        } else throw error;
        told = false;
        if (part.from > from) deadline = Date.now() + timeoutMs;
        if (Date.now() > deadline) throw new VmsteadError('Timeout', (error as Error).message);
        await sleep(LOOK_AGAIN);
      }
    }
  } finally {
    progress.end();
  }
}

function mayPass(error: unknown): boolean {
  if (error instanceof BrokenOffError) return true;
  if (error instanceof VmsteadError) return error.code === 'ExportWaits' || error.code === 'Unreachable';
  return !isForbidden(error) && (error as NodeJS.ErrnoException).syscall === 'connect';
}

/** @throws VmsteadError `VmNotRunning` */
async function podOf(cluster: Cluster, name: string): Promise<string> {
  const { status } = await getVm(cluster, name);
  const pod = status?.launcher?.podName;
  if (pod !== undefined && (status?.phase === 'Running' || status?.phase === 'Paused')) return pod;
  if (status?.phase === 'Starting') {
    throw new VmsteadError('ExportWaits', `${name} is starting; its disks can be read when it runs`);
  }
  throw new VmsteadError(
    'VmNotRunning',
    `${name} does not run (${status?.phase ?? 'not seen by the operator yet'}), and its disks are read through its launcher; start it: kubectl vm start ${name}`,
  );
}

/** One connection: what it brings is written to the file. */
async function once(
  cluster: Cluster,
  pod: string,
  request: ExportRequest,
  part: PartFile,
  progress: Progress,
): Promise<void> {
  let exec: RunningExec | undefined;
  const bytes = new ByteQueue({ pause: () => exec?.pause(), resume: () => exec?.resume() });
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const complaints: Buffer[] = [];
  const stderr = new PassThrough().on('data', (chunk: Buffer) => complaints.push(chunk));
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      bytes.push(chunk);
      done();
    },
  });
  const onStatus = ({ status, message }: V1Status) => {
    const said = Buffer.concat(complaints).toString().trim();
    bytes.end(status === 'Success' ? 'the helper in the pod ended' : said || message || 'the helper failed');
    end();
  };
  const onLost = (message: string) => {
    bytes.end(message);
    end();
  };
  const stdin = new PassThrough();
  const command = [COMMAND, JSON.stringify(request)];
  using running = await openExec(cluster, pod, command, { stdout, stderr, stdin, onStatus, onLost });
  exec = running;
  const begin = await receiveBegin(bytes).catch((error: unknown) => {
    const said = (error as Error).message;
    if (!(error instanceof BrokenOffError) || !said.includes('no such file')) throw error;
    throw new VmsteadError(
      'ExportFailed',
      'the launcher of this VM is of a version that exports no disks; restart the VM: kubectl vm restart',
    );
  });
  if (part.begin !== undefined && (begin.bytes !== part.begin.bytes || begin.id !== part.begin.id)) {
    throw new VmsteadError('ExportLost', 'the disk is another one than when the export began');
  }
  part.start(begin);
  progress.begin(begin.dataBytes, begin.dataBefore);
  await receiveRecords(bytes, part, (count) => progress.add(count));
  progress.whole();
  stdin.write(`${EXPORT_DONE}\n`);
  // The helper ends when it has passed that on; what was exported is here in any case.
  await Promise.race([ended, sleep(LONGEST_GOODBYE)]);
}

/** A bar, for as long as it is known how much there is. */
class Progress {
  private readonly io: Io;
  private bar: ProgressBar | undefined;
  private total = 0;
  private done = 0;
  private said = '';

  constructor(io: Io) {
    this.io = io;
  }

  begin(total: number, before: number): void {
    this.total = total;
    this.done = before;
    if (total === 0) return;
    this.bar ??= new ProgressBar(total);
    this.bar.at(before);
  }

  add(count: number): void {
    this.done += count;
    this.bar?.add(count);
  }

  /** Grains that turned out to be zero were not sent. */
  whole(): void {
    if (this.done < this.total) this.add(this.total - this.done);
  }

  say(text: string): void {
    if (text === this.said) return;
    this.said = text;
    if (this.bar === undefined) this.io.note(text);
    else this.bar.note(this.io, `${text}; going on`);
  }

  end(): void {
    this.bar?.end();
  }
}
