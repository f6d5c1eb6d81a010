/** The records of a disk (crds/export.ts), taken from a connection and written to a file. */
import { createHash } from 'node:crypto';
import type { ByteQueue } from '../../crds/byte-queue.ts';
import { ERRORS, type ErrorCode, VmsteadError } from '../../crds/errors.ts';
import { type ExportBegin, type ExportFailure, RECORD, RECORD_HEADER, WINDOW } from '../../crds/export.ts';

interface Target {
  write(offset: number, data: Buffer): Promise<void>;
  good(from: number): Promise<void>;
}

/** The first line. @throws VmsteadError where the pod says why there is none, BrokenOffError */
export async function receiveBegin(bytes: ByteQueue): Promise<ExportBegin> {
  const line = await bytes.line();
  let said: ExportBegin | ExportFailure;
  try {
    said = JSON.parse(line) as ExportBegin | ExportFailure;
  } catch {
    throw new VmsteadError('ExportFailed', `the pod sent no export but: ${line.slice(0, 200)}`);
  }
  if ('message' in said) throw failureOf(said);
  return said;
}

function failureOf({ code, message }: ExportFailure): VmsteadError {
  return new VmsteadError(Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'ExportFailed', message);
}

/**
 * Everything behind the first line, up to the end of the disk.
 *
 * @param onData told how much data came
 * @throws VmsteadError where the pod gives up or what came is not what it read, BrokenOffError
 */
export async function receiveRecords(
  bytes: ByteQueue,
  target: Target,
  onData: (bytes: number) => void,
): Promise<void> {
  const hash = createHash('sha256');
  for (;;) {
    const head = await bytes.take(RECORD_HEADER);
    const kind = head.readUInt8(0);
    const offset = Number(head.readBigUInt64BE(1));
    const length = Number(head.readBigUInt64BE(9));
    if (length > WINDOW) throw new VmsteadError('ExportFailed', 'what came is no export');
    const content = await bytes.take(length);
    if (kind === RECORD.Data) {
      hash.update(head).update(content);
      await target.write(offset, content);
      onData(length);
    } else if (kind === RECORD.Failure) {
      throw failureOf(JSON.parse(content.toString()) as ExportFailure);
    } else {
      if (!hash.copy().digest().equals(content)) {
        throw new VmsteadError(
          'ExportFailed',
          'what came is not what the pod read: something on the way changed it; export again',
        );
      }
      if (kind === RECORD.End) return;
      await target.good(offset);
    }
  }
}
