import { VmsteadError } from '../../crds/errors.ts';

/** QEMU is alive and refused the command: `errorClass` and `description` are its own words. */
export class QmpCommandError extends VmsteadError {
  readonly command: string;
  readonly errorClass: string;
  readonly description: string;

  constructor(command: string, errorClass: string, description: string) {
    super('QmpRefused', `QEMU refused ${command}: ${description}`);
    this.command = command;
    this.errorClass = errorClass;
    this.description = description;
  }
}

/** The connection is gone, so QEMU has ended or is ending; whether the command was carried out is not known. */
export class QmpClosedError extends VmsteadError {
  constructor(command: string) {
    super('QmpClosed', `the connection to QEMU was lost before it answered ${command}`);
  }
}

/** No answer in time. QEMU answers in order, so it is stuck in this command or an earlier one. */
export class QmpTimeoutError extends VmsteadError {
  constructor(command: string, milliseconds: number) {
    super('QmpTimeout', `QEMU did not answer ${command} within ${milliseconds} ms`);
  }
}

/** What came over the socket is no QMP. */
export class QmpProtocolError extends VmsteadError {
  constructor(message: string) {
    super('QmpProtocol', message);
  }
}
