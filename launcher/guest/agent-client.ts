/**
 * A small client of the QEMU guest agent. Who answers is the guest, and it may say anything: lines are
 * bounded, answers are unknown until they were looked at, and one that does not come is waited for no longer.
 * Source: https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
 */
import { connect, type Socket } from 'node:net';
import { LineSplitter } from '../qmp/lines.ts';

const LONGEST_LINE = 64 * 1024;

type AgentCommand =
  | 'guest-sync-delimited'
  | 'guest-ping'
  | 'guest-info'
  | 'guest-network-get-interfaces'
  | 'guest-get-osinfo'
  | 'guest-fsfreeze-freeze'
  | 'guest-fsfreeze-thaw'
  | 'guest-set-time';

export class AgentClient {
  private readonly socket: Socket;
  private waiting: ((answer: unknown) => void) | undefined;

  constructor(path: string) {
    const lines = new LineSplitter(
      LONGEST_LINE,
      (line) => this.receive(line),
      () => this.waiting?.(undefined),
    );
    this.socket = connect(path);
    this.socket.on('data', (chunk) => lines.push(chunk as Buffer));
    this.socket.on('error', () => {});
    this.socket.on('close', () => this.waiting?.(undefined));
  }

  /** Undefined when there is no answer in time, or an error. One call at a time. */
  async call(command: AgentCommand, args: object | undefined, timeout: number): Promise<unknown> {
    return await new Promise<unknown>((resolve) => {
      const done = (answer: unknown) => {
        clearTimeout(timer);
        this.waiting = undefined;
        resolve(answer);
      };
      const timer = setTimeout(done, timeout, undefined);
      this.waiting = done;
      // A newline in front ends whatever half a request an earlier launcher left.
      this.socket.write(`\n${JSON.stringify({ execute: command, arguments: args })}\n`);
    });
  }

  /** Whether an agent listens: asks until the answer is to this very question and no earlier one. */
  async sync(timeout: number): Promise<boolean> {
    const id = Math.floor(Math.random() * 2 ** 31);
    return (await this.call('guest-sync-delimited', { id }, timeout)) === id;
  }

  end(): void {
    this.socket.destroy();
  }

  private receive(line: string): void {
    // The delimiter of guest-sync-delimited, a byte 0xff, decodes to U+FFFD.
    const text = line.slice(line.lastIndexOf('\ufffd') + 1).trim();
    if (text === '') return;
    try {
      const message = JSON.parse(text) as { return?: unknown; error?: unknown };
      this.waiting?.(message?.error === undefined ? message?.return : undefined);
    } catch {}
  }
}
