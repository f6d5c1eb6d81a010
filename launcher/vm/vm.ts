/** One VM: its QEMU started or taken over, watched, and its end told. */
import type { LauncherReport, MachineState } from '../../crds/channel.ts';
import type { MachineDisk } from '../../crds/machine-description.ts';
import type { Log } from '../log.ts';
import { diskIndexOfNode } from '../machine/disks.ts';
import type { PreparedDisk } from '../machine/host.ts';
import type { QmpClient } from '../qmp/client.ts';
import type { QmpEvent } from '../qmp/commands.ts';
import { QmpClosedError } from '../qmp/errors.ts';
import { autopsy } from './autopsy.ts';
import { type Ending, endingOf } from './ending.ts';
import { connectMonitor } from './monitor.ts';
import { findQemu, isAlive, type ProcessId } from './process.ts';
import { lastWords, type QemuExit } from './qemu.ts';
import { ioErrorMessage, lostMessage } from './room.ts';
import { type StartOptions, startQemu } from './start.ts';
import { type Happening, next, RUN_STATE } from './states.ts';

export interface VmOptions extends StartOptions {
  log: Log;
  /** Something that a report tells has changed. */
  onChange: () => void;
}

export class Vm {
  readonly options: VmOptions;
  /** Settles when QEMU is gone, never before; rejects never. */
  readonly ended: Promise<Ending>;
  state: MachineState = 'Starting';
  qmp: QmpClient | undefined;
  qemu: ProcessId | undefined;
  qemuVersion: string | undefined;
  /** Listeners of what belongs to others: the guest's ports. */
  readonly onEvent: ((event: QmpEvent) => void)[] = [];
  readonly onConnected: (() => void)[] = [];
  private exit: Promise<QemuExit> | undefined;
  private settle!: (ending: Ending) => void;

  constructor(options: VmOptions) {
    this.options = options;
    this.ended = new Promise((resolve) => {
      this.settle = resolve;
    });
  }

  /** Takes over the QEMU that runs, or tells the end of the one that ran, or starts one: in that order. */
  begin(): void {
    const { life, paths, log } = this.options;
    const running = findQemu(paths.pid);
    if (running !== undefined) {
      log.info({ pid: running.pid, restarts: life.record.restarts }, 'taking over the running QEMU');
      life.change({ qemu: running });
      this.watch(running);
    } else if (life.record.qemu !== undefined) {
      this.finish(this.postMortem(undefined));
    } else if (life.stopRequestedAt() !== undefined) {
      this.finish({ result: 'Stopped', message: 'the VM was stopped before QEMU was started' });
    } else {
      this.start();
    }
  }

  get disks(): readonly (PreparedDisk | null)[] {
    return this.options.life.record.disks ?? [];
  }

  /** How often the machine has been changed while it runs. The file of a new launcher may be newer than the last word, or older. */
  get revision(): number {
    return Math.max(this.options.description.revision ?? 0, this.options.life.record.machine?.revision ?? 0);
  }

  /** The disks as they are to be now: those of the start, changed in place. */
  get machineDisks(): readonly MachineDisk[] {
    const { description, life } = this.options;
    const { machine } = life.record;
    return machine !== undefined && machine.revision > (description.revision ?? 0)
      ? machine.disks
      : description.disks;
  }

  /** Moves the state machine; a happening that the state has no way for is logged and ignored. */
  happen(happening: Happening): void {
    const to = next(this.state, happening);
    if (to === undefined) {
      this.options.log.warn({ state: this.state, happening }, 'QEMU contradicts the state of the VM');
      return;
    }
    if (to === this.state) return;
    this.options.log.info({ from: this.state, to }, 'state');
    this.state = to;
    this.options.onChange();
  }

  /** Asks QEMU for its run state and follows it. Level-triggered: what was missed in between does not matter. */
  async refresh(): Promise<void> {
    if (this.qmp === undefined) return;
    const { life } = this.options;
    // Until its memory is there and it was told to go on, what QEMU says is not about the guest.
    if (life.record.incoming !== undefined) return;
    const { status } = await this.qmp.execute('query-status');
    const reading = RUN_STATE[status];
    if (reading.kind === 'passing') return;
    if (reading.kind === 'guestEnded') {
      await this.guestEnded(reading.result);
      return;
    }
    if (reading.happening === 'running' && life.record.ioError !== undefined) {
      const { ioError: _, ...rest } = life.record;
      life.replace(rest);
    }
    // QEMU stays in `io-error` when a person pauses a guest that it had already stopped.
    this.happen(reading.happening === 'ioError' && life.record.pausedByPerson ? 'paused' : reading.happening);
  }

  /** Ends QEMU now: by its monitor, or by SIGKILL where that does not answer. The first ending told counts. */
  async quit(ending: Ending): Promise<void> {
    const { life, log } = this.options;
    if (life.record.ending === undefined) life.change({ ending });
    try {
      if (this.qmp === undefined) this.kill();
      else await this.qmp.execute('quit', {}, { timeout: 5000 });
    } catch (error) {
      if (error instanceof QmpClosedError) return;
      log.warn({ err: String(error) }, 'QEMU does not quit; killing it');
      this.kill();
    }
  }

  kill(): void {
    if (this.qemu === undefined || !isAlive(this.qemu)) return;
    process.kill(this.qemu.pid, 'SIGKILL');
  }

  ioError(): LauncherReport['ioError'] {
    const error = this.options.life.record.ioError;
    if (error === undefined) return undefined;
    return { disk: this.machineDisks[error.disk]?.name ?? 'unknown', noSpace: error.noSpace };
  }

  message(): string | undefined {
    const { life } = this.options;
    const error = this.ioError();
    if (this.state !== 'IoError' || error === undefined) return undefined;
    const index = life.record.ioError?.disk ?? -1;
    if (this.machineDisks[index]?.backend?.type === 'attached') return lostMessage(error.disk);
    return ioErrorMessage(error.disk, error.noSpace, this.disks[index]);
  }

  private start(): void {
    if (this.options.description.restore === undefined) this.startNow();
    else void this.startRestored();
  }

  /** Going back to a snapshot takes as long as reading it through. */
  private async startRestored(): Promise<void> {
    const { description, life, log } = this.options;
    try {
      const { restoreAtStart } = await import('../snapshot/restore.ts');
      const restored = await restoreAtStart(description, log);
      if (restored !== undefined) life.change({ restored: { ...restored, memory: false } });
    } catch (error) {
      this.finish(endingOf(error));
      return;
    }
    if (life.stopRequestedAt() === undefined) this.startNow();
    else this.finish({ result: 'Stopped', message: 'the VM was stopped before QEMU was started' });
  }

  private startNow(): void {
    try {
      const { id, exited } = startQemu(this.options);
      this.exit = exited;
      this.watch(id);
    } catch (error) {
      this.finish(endingOf(error));
    }
  }

  private watch(qemu: ProcessId): void {
    this.qemu = qemu;
    // A failed start is told by the exit, not by the connection.
    this.follow(qemu).catch((error: unknown) => {
      // Not to be understood from here: a new launcher takes QEMU over with a clear mind.
      this.options.log.error({ err: String(error) }, 'the launcher failed');
      process.exitCode = 1;
      throw error;
    });
  }

  private async follow(qemu: ProcessId): Promise<void> {
    const { paths, log } = this.options;
    while (isAlive(qemu)) {
      let lost!: () => void;
      const closed = new Promise<void>((resolve) => {
        lost = resolve;
      });
      const qmp = await connectMonitor(paths.qmp, qemu, {
        onEvent: (event) => this.take(event),
        onClose: () => lost(),
        onTraffic: (line) => log.debug(line, 'qmp'),
      });
      if (qmp === undefined) break;
      this.qmp = qmp;
      await this.connected(qmp);
      await closed;
      this.qmp = undefined;
    }
    const exit =
      this.exit === undefined ? undefined : await this.exit.catch((error: unknown) => endingOf(error));
    this.finish(exit !== undefined && 'result' in exit ? exit : this.postMortem(exit));
  }

  private async connected(qmp: QmpClient): Promise<void> {
    const { life, onChange } = this.options;
    try {
      if (life.record.machineReadyAt === undefined) life.change({ machineReadyAt: new Date().toISOString() });
      await this.refresh();
      const { qemu } = await qmp.execute('query-version');
      this.qemuVersion = `${qemu.major}.${qemu.minor}.${qemu.micro}`;
      onChange();
      for (const listener of this.onConnected) listener();
    } catch (error) {
      // QEMU that ends just now is told by the closed connection.
      if (!(error instanceof QmpClosedError)) throw error;
    }
  }

  private take(event: QmpEvent): void {
    const { log, life } = this.options;
    log.debug({ event: event.event, data: event.data }, 'qmp event');
    if (event.event === 'BLOCK_IO_ERROR' && event.data.action === 'stop') {
      const disk = diskIndexOfNode(event.data['node-name'] ?? '') ?? -1;
      const noSpace = event.data.nospace ?? false;
      life.change({ ioError: { disk, noSpace } });
      log.warn(
        { disk: this.ioError()?.disk, noSpace, reason: event.data.reason },
        'a disk stopped the guest',
      );
    }
    for (const listener of this.onEvent) listener(event);
    this.refresh().catch((error: unknown) => {
      if (!(error instanceof QmpClosedError)) log.warn({ err: String(error) }, 'no state from QEMU');
    });
  }

  private async guestEnded(result: 'GuestPowerOff' | 'GuestPanic' | 'QemuFailed'): Promise<void> {
    const stopping = this.options.life.stopRequestedAt() !== undefined;
    if (result === 'GuestPowerOff' && stopping) {
      await this.quit({ result: 'Stopped', message: 'the guest powered itself off when it was asked to' });
    } else if (result === 'GuestPowerOff') {
      await this.quit({ result, message: 'the guest powered itself off' });
    } else if (result === 'GuestPanic') {
      await this.quit({ result, code: result, message: 'the kernel of the guest panicked' });
    } else {
      const message = 'the virtual CPU came into a state that it cannot go on from (internal-error)';
      await this.quit({ result, code: result, message });
    }
  }

  private postMortem(exit: QemuExit | undefined): Ending {
    const { life, paths } = this.options;
    if (life.record.ending !== undefined) return life.record.ending;
    const wasUp = life.record.machineReadyAt !== undefined;
    return autopsy({ exit, wasUp, lastWords: lastWords(paths.qemuLog) });
  }

  private finish(ending: Ending): void {
    this.happen('ended');
    this.settle(ending);
  }
}
