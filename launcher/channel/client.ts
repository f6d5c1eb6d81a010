/** The launcher's end of the channel: reports go up, commands come down, for as long as the VM lives. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CHANNEL_LINE_LIMIT,
  type CommandName,
  type DownMessage,
  downMessage,
  HEARTBEAT_DEADLINE,
  HEARTBEAT_INTERVAL,
  type UpMessage,
} from '../../crds/channel.ts';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { SnapshotOrder } from '../../crds/snapshot-order.ts';
import type { Log } from '../log.ts';
import { LineSplitter } from '../qmp/lines.ts';
import { dial } from './dial.ts';

const BACKOFF = { first: 200, last: 10_000 };

interface ChannelOptions {
  channel: NonNullable<MachineDescription['channel']>;
  tokenPath: string;
  hello: Extract<UpMessage, { type: 'hello' }>;
  log: Log;
  /** What is true now: a launcher's report, a mover's progress, or whether an attachment pod exports. */
  report: () => Extract<UpMessage, { type: 'report' | 'progress' | 'attachment' }>;
  /** How the disks are to be now; absent where nothing can be changed. */
  machine?: (message: Extract<DownMessage, { type: 'machine' }>) => void;
  /** Name and key of an attachment pod's export. */
  export?: (message: Extract<DownMessage, { type: 'export' }>) => void;
  /** Rejects with a VmsteadError for the person who asked. */
  command: (id: string, name: CommandName) => Promise<void>;
  /** Rejects like `command`. Absent where there are no disks. */
  snapshot?: (take: SnapshotOrder | undefined, forget: string | undefined) => Promise<void>;
  disowned: (reason: string) => void;
}

export class ChannelClient {
  private readonly options: ChannelOptions;
  private socket: Socket | undefined;
  private reported = '';
  private ended = false;

  constructor(options: ChannelOptions) {
    this.options = options;
  }

  /** Dials until the end; an operator that is away, or does not know us yet, never harms the VM. */
  async run(): Promise<void> {
    const { channel, tokenPath, log } = this.options;
    let backoff = BACKOFF.first;
    let logged = '';
    for (let turn = 0; !this.ended; turn++) {
      const address = channel.addresses[turn % channel.addresses.length]!;
      const dialled = await dial(channel, address, tokenPath);
      if ('disowned' in dialled) {
        this.options.disowned(dialled.disowned);
        return;
      }
      if ('socket' in dialled) {
        log.info({ address }, 'channel open');
        backoff = BACKOFF.first;
        logged = '';
        await this.serve(dialled.socket);
        log.info({ address }, 'channel closed');
      } else if (dialled.failed !== logged) {
        logged = dialled.failed;
        log.warn({ address }, dialled.failed);
      }
      // All addresses in turn before waiting longer.
      if ((turn + 1) % channel.addresses.length === 0) backoff = Math.min(backoff * 2, BACKOFF.last);
      await sleep(backoff * (0.5 + Math.random() / 2), undefined, { ref: false });
    }
  }

  /** Sends a report if it differs from the last one sent over this connection. */
  changed(): void {
    if (this.socket === undefined) return;
    const report = this.options.report();
    const text = JSON.stringify(report);
    if (text === this.reported) return;
    this.reported = text;
    this.send(report);
  }

  /** Sends the last report on its way and closes. */
  async end(): Promise<void> {
    this.ended = true;
    this.changed();
    const { socket } = this;
    if (socket === undefined) return;
    await Promise.race([new Promise<void>((resolve) => socket.end(resolve)), sleep(200)]);
  }

  private send(message: UpMessage): void {
    this.socket?.write(`${JSON.stringify(message)}\n`);
  }

  private async serve(socket: Socket): Promise<void> {
    this.socket = socket;
    this.reported = '';
    let heard = performance.now();
    const lines = new LineSplitter(
      CHANNEL_LINE_LIMIT,
      (line) => {
        heard = performance.now();
        this.receive(line);
      },
      () => socket.destroy(),
    );
    socket.setNoDelay(true);
    socket.on('data', (chunk) => lines.push(chunk as Buffer));
    socket.on('error', () => {});
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    this.send(this.options.hello);
    this.changed();
    const heartbeat = setInterval(() => {
      if (performance.now() - heard > HEARTBEAT_DEADLINE) socket.destroy();
      else this.send({ type: 'heartbeat' });
    }, HEARTBEAT_INTERVAL);
    heartbeat.unref();
    await closed;
    clearInterval(heartbeat);
    this.socket = undefined;
  }

  private receive(line: string): void {
    let parsed: ReturnType<typeof downMessage.safeParse>;
    try {
      parsed = downMessage.safeParse(JSON.parse(line));
    } catch {
      this.options.log.warn({}, 'the operator sent what is no JSON');
      return;
    }
    if (!parsed.success) {
      this.options.log.warn({}, 'the operator sent a message that this launcher does not know');
      return;
    }
    const message = parsed.data;
    if (message.type === 'disowned') this.options.disowned(message.reason);
    else if (message.type === 'command') {
      void this.answer(message.id, () => this.options.command(message.id, message.name));
    } else if (message.type === 'snapshot') {
      void this.answer(message.id, async () => this.options.snapshot?.(message.take, message.forget));
    } else if (message.type === 'machine') this.options.machine?.(message);
    else if (message.type === 'export') this.options.export?.(message);
  }

  private async answer(id: string, task: () => Promise<void>): Promise<void> {
    try {
      await task();
      // The report before the result: who waits for the result sees the new state.
      this.changed();
      this.send({ type: 'result', id });
    } catch (error) {
      const code = error instanceof VmsteadError ? error.code : 'QemuFailed';
      const message = (error instanceof Error ? error.message : String(error)).slice(0, 1024);
      this.send({ type: 'result', id, error: { code, message } });
    }
  }
}
