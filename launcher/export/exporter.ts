/**
 * `node launcher.cjs export REQUEST`: one disk onto standard output, for `kubectl vm export`. The launcher keeps the
 * moment for as long as its socket is held; QEMU itself is read from.
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { connect } from 'node:net';
import {
  EXPORT_DONE,
  type ExportBegin,
  type ExportFailure,
  type ExportRequest,
  RECORD,
} from '../../crds/export.ts';
import { LineSplitter } from '../qmp/lines.ts';
import type { ExportAnswer } from './exports.ts';
import { NbdClient, NbdError } from './nbd-client.ts';
import { dataBytes, recordHeader, records } from './records.ts';

const LONGEST_ANSWER = 64 * 1024;

export async function runExport(path: string, argument: string): Promise<void> {
  // Written by another thread: this one has to hear when nobody listens any more.
  const output = createWriteStream('', { fd: 1, autoClose: false });
  output.on('error', () => process.exit(0));
  const write = async (data: Buffer | string) => {
    if (!output.write(data)) await once(output, 'drain');
  };
  let begun = false;
  const fail = async (failure: ExportFailure) => {
    const text = Buffer.from(JSON.stringify(failure));
    if (begun) await write(recordHeader(RECORD.Failure, 0, text.length));
    await write(begun ? text : `${text}\n`);
  };
  const launcher = await askLauncher(path, argument);
  process.stdin
    .on('data', (said: Buffer) => {
      if (said.toString().includes(EXPORT_DONE)) launcher.done();
    })
    .on('end', () => process.exit(0));
  if ('message' in launcher.answer) {
    await fail(launcher.answer);
  } else {
    const { nbd, name, ...moment } = launcher.answer;
    const { from = 0, snapshot } = JSON.parse(argument) as ExportRequest;
    try {
      const disk = await NbdClient.connect(nbd, name);
      const source = {
        bytes: disk.bytes,
        extents: (at: number) => disk.extents(at),
        read: (offset: number, length: number) => disk.read(offset, length),
      };
      const begin: ExportBegin = {
        version: 1,
        ...moment,
        bytes: disk.bytes,
        ...(await dataBytes(source, from)),
      };
      await write(`${JSON.stringify(begin)}\n`);
      begun = true;
      for await (const record of records(source, from)) await write(record);
      disk.close();
      // Whoever takes it says so: until then it may be asked for again.
      return;
    } catch (error) {
      if (!(error instanceof NbdError)) {
        // Whoever waits asks for the rest, and is told then what there still is.
        process.stderr.write(`${(error as Error).message}\n`);
        process.exit(1);
      }
      // QEMU says no more than that it may not be read; of a snapshot it has to be something else.
      const broken = snapshot === undefined;
      await fail({
        code: broken ? 'ExportLost' : 'ExportFailed',
        message: broken
          ? `disk ${moment.disk} cannot be read as it was (${error.message}): the guest has most likely overwritten more of it than there is room for what was there before; take a snapshot and export that: kubectl vm snapshot, then --snapshot NAME`
          : `disk ${moment.disk} cannot be read: ${error.message}`,
      });
    }
  }
  output.end(() => process.exit(0));
}

interface Conversation {
  answer: ExportAnswer;
  /** The moment is not needed any more. */
  done(): void;
}

/** The socket stays open: the launcher keeps the moment for whoever holds it. */
async function askLauncher(path: string, argument: string): Promise<Conversation> {
  const socket = connect(path);
  return await new Promise((resolve) => {
    const gone = () =>
      resolve({
        answer: { code: 'ExportWaits', message: 'the launcher does not answer just now' },
        done: () => {},
      });
    const lines = new LineSplitter(
      LONGEST_ANSWER,
      (line) =>
        resolve({
          answer: JSON.parse(line) as ExportAnswer,
          done: () => socket.end(`${EXPORT_DONE}\n`, () => process.exit(0)),
        }),
      gone,
    );
    socket.on('connect', () => socket.write(`${argument}\n`));
    socket.on('data', (data: Buffer) => lines.push(data));
    socket.on('error', gone).on('close', gone);
  });
}
