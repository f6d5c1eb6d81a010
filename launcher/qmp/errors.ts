/** QEMU is alive and refused the command: `errorClass` and `description` are its own words. */
export class QmpCommandError extends Error {
  readonly command: string;
  readonly errorClass: string;
  readonly description: string;

  constructor(command: string, errorClass: string, description: string) {
    super(`QEMU refused ${command}: ${description}`);
    this.name = 'QmpCommandError';
    this.command = command;
    this.errorClass = errorClass;
    this.description = description;
  }
}

/** The connection is gone, so QEMU has ended or is ending; whether the command was carried out is not known. */
export class QmpClosedError extends Error {
  constructor(command: string) {
    super(`the connection to QEMU was lost before it answered ${command}`);
    this.name = 'QmpClosedError';
  }
}

/** No answer in time. QEMU answers in order, so it is stuck in this command or an earlier one. */
export class QmpTimeoutError extends Error {
  constructor(command: string, milliseconds: number) {
    super(`QEMU did not answer ${command} within ${milliseconds} ms`);
    this.name = 'QmpTimeoutError';
  }
}

/** What came over the socket is no QMP. */
export class QmpProtocolError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'QmpProtocolError';
  }
}
