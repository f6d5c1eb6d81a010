/** How far an import is, in the terms of its status. */
import type { MoverProgress } from '../crds/mover.ts';
import type { SourceWatch } from './source/source.ts';

/** Seconds over which the speed is taken. */
const WINDOW = 10;

export class Progress implements SourceWatch {
  private phase: MoverProgress['phase'] = 'Connecting';
  private message: string | undefined;
  private transferred = 0;
  private written = 0;
  private reconnects = 0;
  /** What was transferred at the end of each of the last seconds. */
  private readonly past: { at: number; bytes: number }[] = [];
  total: () => number | undefined = () => undefined;

  waiting(reason: string | undefined): void {
    if (this.phase === 'Verifying') return;
    this.phase = reason === undefined ? 'Transferring' : 'Waiting';
    this.message = reason;
  }

  reconnected(): void {
    this.reconnects++;
  }

  /** From the first byte again, or from that one. */
  begin(transferred: number, message?: string): void {
    this.transferred = transferred;
    this.written = transferred;
    this.past.length = 0;
    this.message = message;
  }

  took(bytes: number): void {
    this.phase = 'Transferring';
    this.transferred += bytes;
  }

  wrote(total: number): void {
    this.written = total;
  }

  verifying(): void {
    this.phase = 'Verifying';
    this.message = undefined;
  }

  /** To be called about once a second: the speed is measured by it. */
  now(at: number): MoverProgress {
    this.past.push({ at, bytes: this.transferred });
    while (this.past.length > 2 && at - this.past[0]!.at > WINDOW * 1000) this.past.shift();
    const first = this.past[0]!;
    const seconds = (at - first.at) / 1000;
    const moving = this.phase === 'Transferring';
    const speed = moving && seconds > 0 ? Math.round((this.transferred - first.bytes) / seconds) : 0;
    const total = this.total();
    const left = total === undefined ? undefined : Math.max(0, total - this.transferred);
    return {
      phase: this.phase,
      ...(this.message === undefined ? {} : { message: this.message.slice(0, 1024) }),
      transferredBytes: this.transferred,
      ...(total === undefined ? {} : { totalBytes: total }),
      writtenBytes: this.written,
      bytesPerSecond: speed,
      ...(left === undefined || speed <= 0 ? {} : { etaSeconds: Math.ceil(left / speed) }),
      reconnects: this.reconnects,
    };
  }
}
