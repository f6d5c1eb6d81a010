/** The attachment pods that are connected to this operator, and whether their disks can be reached. */
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { UpMessage } from '../../crds/channel.ts';
import { Connection } from './connection.ts';
import type { AttachmentIdentity } from './identity.ts';

interface Entry {
  readonly connection: Connection;
  exporting: boolean;
}

/** By pod UID; what one said is forgotten with its connection, and harms nothing: what was attached stays. */
export class Exporters {
  readonly #log: Logger;
  readonly #keyOf: (podUid: string) => string;
  readonly #entries = new Map<string, Entry>();
  readonly #handlers: ((identity: AttachmentIdentity) => void)[] = [];

  constructor(log: Logger, keyOf: (podUid: string) => string) {
    this.#log = log;
    this.#keyOf = keyOf;
  }

  /** Called when a disk can be reached, or can no more. */
  onChange(handler: (identity: AttachmentIdentity) => void): void {
    this.#handlers.push(handler);
  }

  /** Those of the pods that are heard, and whether they export. */
  among(podUids: readonly string[]): Map<string, boolean> {
    return new Map(
      podUids.flatMap((uid) => {
        const entry = this.#entries.get(uid);
        return entry ? [[uid, entry.exporting] as const] : [];
      }),
    );
  }

  /** Takes a socket over and hands the pod its key; a newer connection of a pod replaces its older one. */
  accept(identity: AttachmentIdentity, socket: Duplex): void {
    const { podUid, namespace, vm, podName } = identity;
    const previous = this.#entries.get(podUid);
    const connection = new Connection(identity, socket, {
      message: (message) => this.#receive(identity, entry, message),
      closed: (reason) => {
        if (this.#entries.get(podUid) === entry) this.#entries.delete(podUid);
        this.#log.info({ namespace, vm, pod: podName, reason }, 'attachment disconnected');
      },
    });
    const entry: Entry = { connection, exporting: previous?.exporting ?? false };
    this.#entries.set(podUid, entry);
    previous?.connection.close('replaced by a newer connection');
    connection.send({ type: 'export', name: podUid, key: this.#keyOf(podUid) });
    this.#log.info({ namespace, vm, pod: podName }, 'attachment connected');
  }

  /** Hangs up on everybody; they dial again until somebody answers. */
  closeAll(reason: string): void {
    for (const { connection } of [...this.#entries.values()]) connection.close(reason);
  }

  #receive(identity: AttachmentIdentity, entry: Entry, message: UpMessage): void {
    if (message.type === 'attachment') {
      entry.exporting = message.exporting;
      for (const handler of this.#handlers) handler(identity);
    } else if (message.type === 'heartbeat') {
      // An echo, so that the other end notices a dead operator as we notice a dead one there.
      entry.connection.send({ type: 'heartbeat' });
    }
  }
}
