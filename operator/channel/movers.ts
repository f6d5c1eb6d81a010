/** The movers that are connected to this operator, and how far they are. */
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { UpMessage } from '../../crds/channel.ts';
import type { MoverProgress } from '../../crds/mover.ts';
import { Connection } from './connection.ts';
import type { MoverIdentity } from './identity.ts';

interface Entry {
  readonly connection: Connection;
  progress: MoverProgress | undefined;
}

/** By pod UID; what a mover said is forgotten with its connection: its result is in its pod. */
export class MoverRegistry {
  readonly #log: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #handlers: ((identity: MoverIdentity) => void)[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Called when a mover has got further. */
  onChange(handler: (identity: MoverIdentity) => void): void {
    this.#handlers.push(handler);
  }

  progressOf(podUid: string): MoverProgress | undefined {
    return this.#entries.get(podUid)?.progress;
  }

  /** Takes a mover's socket over; a newer connection of a pod replaces its older one. */
  accept(identity: MoverIdentity, socket: Duplex): void {
    const { podUid, namespace, image, podName } = identity;
    const previous = this.#entries.get(podUid);
    const connection = new Connection(identity, socket, {
      message: (message) => this.#receive(identity, entry, message),
      closed: (reason) => {
        if (this.#entries.get(podUid) === entry) this.#entries.delete(podUid);
        this.#log.info({ namespace, image, pod: podName, reason }, 'mover disconnected');
      },
    });
    const entry: Entry = { connection, progress: previous?.progress };
    this.#entries.set(podUid, entry);
    previous?.connection.close('replaced by a newer connection');
    this.#log.info({ namespace, image, pod: podName }, 'mover connected');
  }

  /** Hangs up on everybody; movers dial again until somebody answers. */
  closeAll(reason: string): void {
    for (const { connection } of [...this.#entries.values()]) connection.close(reason);
  }

  #receive(identity: MoverIdentity, entry: Entry, message: UpMessage): void {
    if (message.type === 'progress') {
      entry.progress = message.progress;
      for (const handler of this.#handlers) handler(identity);
    } else if (message.type === 'heartbeat') {
      // An echo, so that the mover notices a dead operator as we notice a dead mover.
      entry.connection.send({ type: 'heartbeat' });
    }
  }
}
