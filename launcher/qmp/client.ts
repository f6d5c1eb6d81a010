/** A QMP connection: commands in, their answers and QEMU's events out. */
import { connect, type Socket } from 'node:net';
import { failpoint } from '../../crds/failpoint.ts';
import type { QmpCommand, QmpCommands, QmpEvent } from './commands.ts';
import { QmpClosedError, QmpCommandError, QmpProtocolError, QmpTimeoutError } from './errors.ts';
import { LineSplitter } from './lines.ts';

/** `query-qmp-schema` answers some 200 KiB on one line; nothing else comes near. */
const LONGEST_LINE = 16 * 1024 * 1024;
const DEFAULT_TIMEOUT = 10_000;

interface Message {
  QMP?: unknown;
  return?: unknown;
  error?: { class: string; desc: string };
  event?: string;
  data?: unknown;
  timestamp?: { seconds: number; microseconds: number };
  id?: number;
}

interface Waiting {
  command: string;
  settle: (error: Error | undefined, value?: unknown) => void;
}

export interface QmpOptions {
  /** Called for each event in the order in which QEMU sent them; unknown ones included. */
  onEvent: (event: QmpEvent) => void;
  /**
   * Called once when a connection that `connect` gave is lost for whatever reason: the one synthetic event. One
   * that never came about is told by `connect` itself.
   */
  onClose: (reason: Error | undefined) => void;
  /** Called for each command and its answer; for a log at debug level. */
  onTraffic?: (line: { command: string; milliseconds: number; error?: string }) => void;
}

export class QmpClient {
  private readonly socket: Socket;
  private readonly options: QmpOptions;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 0;
  private closedBecause: { reason: Error | undefined } | undefined;
  private given = false;
  private greeted!: () => void;
  private refused!: (reason: Error) => void;
  private readonly greeting: Promise<void>;

  private constructor(socket: Socket, options: QmpOptions) {
    this.socket = socket;
    this.options = options;
    this.greeting = new Promise((resolve, reject) => {
      this.greeted = resolve;
      this.refused = reject;
    });
    this.greeting.catch(() => {}); // connect() waits for it, and may have given up before
    const lines = new LineSplitter(
      LONGEST_LINE,
      (line) => this.receive(line),
      () => this.close(new QmpProtocolError(`QEMU sent a line of more than ${LONGEST_LINE} bytes`)),
    );
    socket.on('data', (chunk) => lines.push(chunk as Buffer));
    socket.on('error', (error) => this.close(error));
    socket.on('close', () => this.close(undefined));
  }

  /**
   * Connects to QEMU's monitor socket and negotiates capabilities. Rejects with the socket's error
   * (ENOENT and ECONNREFUSED mean "not there yet"), a QmpClosedError or a QmpTimeoutError: the monitor serves one
   * client at a time and lets a second one wait.
   */
  static async connect(path: string, options: QmpOptions, timeout = DEFAULT_TIMEOUT): Promise<QmpClient> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    socket.removeAllListeners('error');
    const client = new QmpClient(socket, options);
    try {
      await client.within(timeout, 'the greeting', client.greeting);
      await client.execute('qmp_capabilities', {}, { timeout });
      if (client.closed) throw new QmpClosedError('qmp_capabilities');
    } catch (error) {
      socket.destroy();
      throw error;
    }
    client.given = true;
    return client;
  }

  get closed(): boolean {
    return this.closedBecause !== undefined;
  }

  /** Rejects with QmpCommandError, QmpClosedError or QmpTimeoutError. */
  execute<C extends QmpCommand>(
    command: C,
    args?: QmpCommands[C]['arguments'],
    { timeout } = { timeout: DEFAULT_TIMEOUT },
  ): Promise<QmpCommands[C]['return']> {
    return this.raw(command, args, timeout) as Promise<QmpCommands[C]['return']>;
  }

  /** Tells a QEMU that is alive and refused something from one that is gone or stuck. */
  async ping(timeout = 2000): Promise<boolean> {
    try {
      await this.execute('query-status', {}, { timeout });
      return true;
    } catch (error) {
      return error instanceof QmpCommandError;
    }
  }

  end(): void {
    this.socket.destroy();
    this.close(undefined);
  }

  private async raw(command: string, args: object | undefined, timeout: number): Promise<unknown> {
    if (this.closedBecause !== undefined) throw new QmpClosedError(command);
    const id = this.nextId++;
    const started = performance.now();
    failpoint(`qmp:${command}`, 'before');
    const answer = new Promise<unknown>((resolve, reject) => {
      this.waiting.set(id, {
        command,
        settle: (error, value) => {
          this.waiting.delete(id);
          this.options.onTraffic?.({
            command,
            milliseconds: Math.round(performance.now() - started),
            ...(error === undefined ? {} : { error: error.message }),
          });
          if (error === undefined) resolve(value);
          else reject(error);
        },
      });
    });
    this.socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await this.within(timeout, command, answer);
    } finally {
      this.waiting.delete(id);
      failpoint(`qmp:${command}`, 'after');
    }
  }

  private async within<T>(timeout: number, command: string, promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new QmpTimeoutError(command, timeout)), timeout);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  private receive(line: string): void {
    if (line.trim() === '') return;
    let message: Message;
    try {
      message = JSON.parse(line) as Message;
    } catch {
      this.close(new QmpProtocolError(`QEMU sent what is no JSON: ${line.slice(0, 200)}`));
      return;
    }
    if (message.QMP !== undefined) this.greeted();
    else if (message.event !== undefined)
      this.options.onEvent({ data: {}, ...message } as unknown as QmpEvent);
    else if (message.id !== undefined) this.answer(message, message.id);
  }

  private answer(message: Message, id: number): void {
    const waiting = this.waiting.get(id);
    if (waiting === undefined) return;
    const { error } = message;
    if (error === undefined) waiting.settle(undefined, message.return);
    else waiting.settle(new QmpCommandError(waiting.command, error.class, error.desc));
  }

  private close(reason: Error | undefined): void {
    if (this.closedBecause !== undefined) return;
    this.closedBecause = { reason };
    this.socket.destroy();
    // A QEMU that ends may have taken a connection that it never greets.
    this.refused(new QmpClosedError('the greeting'));
    for (const waiting of [...this.waiting.values()]) waiting.settle(new QmpClosedError(waiting.command));
    if (this.given) this.options.onClose(reason);
  }
}
