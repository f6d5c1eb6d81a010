import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { CommandName, DownMessage, LauncherReport, UpMessage } from '../../crds/channel.ts';
import { Connection } from './connection.ts';
import type { LauncherIdentity } from './identity.ts';

type Hello = Extract<UpMessage, { type: 'hello' }>;
/** What became of a command: no `error` means that it was carried out. */
export type CommandResult = Pick<Extract<UpMessage, { type: 'result' }>, 'error'>;

/** A launcher that is connected and has said hello. */
export interface LauncherConnection {
  readonly identity: LauncherIdentity;
  readonly hello: Hello;
  /** Its last report; absent in the moment between hello and the first one. */
  readonly report: LauncherReport | undefined;
  readonly connectedAt: Date;
  readonly lastHeardAt: Date;
}

/** What a launcher said last, also after its connection was lost. */
export interface LastReport {
  readonly report: LauncherReport | undefined;
  readonly lastHeardAt: Date;
  readonly connected: boolean;
  /** What became of commands, by their id; of those only that were answered. */
  readonly results: ReadonlyMap<string, CommandResult>;
}

/** The launcher is not connected, or was lost before its answer: the command may or may not have been carried out. */
export class NotConnectedError extends Error {
  override readonly name = 'NotConnectedError';
}

/** Milliseconds until a command without a result fails. */
const COMMAND_DEADLINE_MS = 30_000;
/** Last reports kept of launchers that are gone and that nobody has told us to forget. */
const REMEMBERED_LIMIT = 10_000;
/** Results kept of one launcher: as many as it keeps itself. */
const REMEMBERED_RESULTS = 64;

interface Entry {
  readonly identity: LauncherIdentity;
  connection: Connection | undefined;
  hello: Hello | undefined;
  report: LauncherReport | undefined;
  connectedAt: Date;
  lastHeardAt: Date;
  /** By command; without a result while it is not answered. Least recent first. */
  readonly commands: Map<string, CommandResult | undefined>;
}

interface PendingCommand {
  readonly podUid: string;
  readonly settle: (outcome: CommandResult | NotConnectedError) => void;
}

export interface RegistryOptions {
  readonly log: Logger;
  readonly now?: () => Date;
  readonly commandDeadlineMs?: number;
}

/** All launchers that are connected to this operator, by pod UID. */
export class LauncherRegistry {
  readonly #options: RegistryOptions;
  readonly #now: () => Date;
  /** Least recently changed first. */
  readonly #entries = new Map<string, Entry>();
  readonly #pending = new Map<string, PendingCommand>();
  readonly #handlers: ((identity: LauncherIdentity) => void)[] = [];
  #connected = 0;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => new Date());
  }

  /** Connections open now. */
  get size(): number {
    return this.#connected;
  }

  /** Called when a launcher has connected, reported something new, answered a command, or was lost. */
  onChange(handler: (identity: LauncherIdentity) => void): void {
    this.#handlers.push(handler);
  }

  get(podUid: string): LauncherConnection | undefined {
    const entry = this.#entries.get(podUid);
    if (entry?.connection === undefined || entry.hello === undefined) return undefined;
    const { identity, hello, report, connectedAt, lastHeardAt } = entry;
    return { identity, hello, report, connectedAt, lastHeardAt };
  }

  lastReport(podUid: string): LastReport | undefined {
    const entry = this.#entries.get(podUid);
    if (entry === undefined) return undefined;
    const connected = entry.connection !== undefined && entry.hello !== undefined;
    const { report, lastHeardAt, commands } = entry;
    const results = new Map<string, CommandResult>();
    for (const [id, result] of commands) if (result) results.set(id, result);
    return { report, lastHeardAt, connected, results };
  }

  /** The pod has ended: its last report is of no more use. */
  forget(podUid: string): void {
    const entry = this.#entries.get(podUid);
    if (entry?.connection === undefined) this.#entries.delete(podUid);
  }

  /**
   * Sends a command and waits for its result, which {@link lastReport} has too; throws {@link NotConnectedError}. The
   * launcher carries out an id at most once, so it may be sent again.
   */
  send(podUid: string, name: CommandName, id: string): Promise<CommandResult> {
    const entry = this.#entries.get(podUid);
    if (entry) remember(entry.commands, id, undefined);
    const deadlineMs = this.#options.commandDeadlineMs ?? COMMAND_DEADLINE_MS;
    return this.#request(podUid, name, deadlineMs, { type: 'command', id, name });
  }

  /** Asks for something about snapshots, like {@link send}. */
  snapshot(
    podUid: string,
    id: string,
    what: Pick<Extract<DownMessage, { type: 'snapshot' }>, 'take' | 'forget'>,
    deadlineMs: number,
  ): Promise<CommandResult> {
    return this.#request(podUid, 'snapshot', deadlineMs, { type: 'snapshot', id, ...what });
  }

  #request(
    podUid: string,
    name: string,
    deadlineMs: number,
    message: Extract<DownMessage, { id: string }>,
  ): Promise<CommandResult> {
    const { id } = message;
    const key = `${podUid}/${id}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          settle(
            new NotConnectedError(`the launcher did not answer "${name}" within ${deadlineMs / 1000} s`),
          ),
        deadlineMs,
      );
      const settle = (outcome: CommandResult | NotConnectedError) => {
        clearTimeout(timer);
        if (this.#pending.get(key)?.settle === settle) this.#pending.delete(key);
        if (outcome instanceof Error) reject(outcome);
        else resolve(outcome);
      };
      // Sent twice (by two reconciles): one answer comes, and it is the newer caller's.
      this.#pending.get(key)?.settle(new NotConnectedError(`"${name}" was sent again`));
      this.#pending.set(key, { podUid, settle });
      const sent = this.get(podUid) && this.#entries.get(podUid)?.connection?.send(message);
      if (!sent) settle(new NotConnectedError('the launcher is not connected'));
    });
  }

  /** Sends what has no result: its effect is seen in a report, and until then it is said again. */
  tell(podUid: string, message: Extract<DownMessage, { type: 'machine' }>): void {
    if (this.get(podUid)) this.#entries.get(podUid)?.connection?.send(message);
  }

  /** Tells a launcher to stop its VM at once, and hangs up. False when it is not connected. */
  disown(podUid: string, reason: string): boolean {
    const connection = this.#entries.get(podUid)?.connection;
    connection?.end({ type: 'disowned', reason }, 'disowned');
    return connection !== undefined;
  }

  /** Takes a launcher's socket over; a newer connection of a pod replaces its older one. */
  accept(identity: LauncherIdentity, socket: Duplex): void {
    const previous = this.#entries.get(identity.podUid);
    previous?.connection?.close('replaced by a newer connection');
    const now = this.#now();
    const entry: Entry = {
      identity,
      connection: undefined,
      hello: undefined,
      report: previous?.report,
      connectedAt: now,
      lastHeardAt: previous?.lastHeardAt ?? now,
      commands: previous?.commands ?? new Map(),
    };
    const connection = new Connection(identity, socket, {
      message: (message) => this.#receive(entry, connection, message),
      closed: (reason) => this.#lost(entry, reason),
    });
    entry.connection = connection;
    this.#connected++;
    this.#entries.delete(identity.podUid);
    this.#entries.set(identity.podUid, entry);
    this.#trim();
  }

  /** Hangs up on everybody; launchers dial again until somebody answers. */
  closeAll(reason: string): void {
    for (const entry of this.#entries.values()) entry.connection?.close(reason);
  }

  #receive(entry: Entry, connection: Connection, message: UpMessage): void {
    entry.lastHeardAt = this.#now();
    if (message.type === 'hello') {
      const first = entry.hello === undefined;
      entry.hello = message;
      if (first) this.#log(entry).info({ launcherVersion: message.launcherVersion }, 'launcher connected');
      this.#tell(entry);
      return;
    }
    if (entry.hello === undefined) {
      connection.close(`the first message is "${message.type}" in place of hello`);
      return;
    }
    if (message.type === 'report') {
      const changed = JSON.stringify(entry.report) !== JSON.stringify(message.report);
      entry.report = message.report;
      if (changed) this.#tell(entry);
    } else if (message.type === 'result') {
      const { id, error } = message;
      const result = error === undefined ? {} : { error };
      this.#pending.get(`${entry.identity.podUid}/${id}`)?.settle(result);
      if (!entry.commands.has(id)) return;
      remember(entry.commands, id, result);
      this.#tell(entry);
    } else {
      // An echo, so that the launcher notices a dead operator as we notice a dead launcher.
      connection.send({ type: 'heartbeat' });
    }
  }

  #lost(entry: Entry, reason: string): void {
    this.#connected--;
    entry.connection = undefined;
    const { podUid } = entry.identity;
    this.#log(entry).info({ reason }, 'launcher disconnected');
    for (const pending of Array.from(this.#pending.values())) {
      if (pending.podUid === podUid)
        pending.settle(new NotConnectedError(`the launcher was lost: ${reason}`));
    }
    this.#tell(entry);
  }

  #tell(entry: Entry): void {
    for (const handler of this.#handlers) handler(entry.identity);
  }

  #trim(): void {
    if (this.#entries.size <= REMEMBERED_LIMIT) return;
    for (const [podUid, entry] of this.#entries) {
      if (entry.connection !== undefined) continue;
      this.#entries.delete(podUid);
      return;
    }
  }

  #log({ identity }: Entry): Logger {
    const { namespace, vm, podName, podUid } = identity;
    return this.#options.log.child({ namespace, vm, pod: podName, podUID: podUid });
  }
}

function remember<V>(known: Map<string, V>, id: string, value: V): void {
  known.delete(id);
  known.set(id, value);
  const [oldest] = known.keys();
  if (known.size > REMEMBERED_RESULTS && oldest !== undefined) known.delete(oldest);
}
