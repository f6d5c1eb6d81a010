/**
 * Disks for `kubectl vm export`: one at a time. A helper that was started in the pod holds a connection to this
 * socket for as long as it reads; the moment outlives it by a little, so that a connection that broke off on the way
 * to the person can be made again.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { VmsteadError } from '../../crds/errors.ts';
import {
  EXPORT_DONE,
  type ExportConsistency,
  type ExportFailure,
  type ExportRequest,
} from '../../crds/export.ts';
import type { GuestAgent } from '../guest/freeze.ts';
import type { LauncherPaths } from '../paths.ts';
import type { QmpClient } from '../qmp/client.ts';
import { LineSplitter } from '../qmp/lines.ts';
import { activeNode } from '../snapshot/graph.ts';
import type { Snapshots } from '../snapshot/snapshots.ts';
import type { LayerStore } from '../snapshot/store.ts';
import type { Vm } from '../vm/vm.ts';
import { EXPORT_NAME, type ExportRecord, keepNow, openSnapshot, serveNode, takeDown } from './moment.ts';

/** Milliseconds that a moment is kept without anybody who reads it. */
const KEPT = 120_000;
const LONGEST_REQUEST = 4096;

/** What a helper is told: where it reads, and what that is. */
export type ExportAnswer =
  | ExportFailure
  | { nbd: string; name: string; id: string; disk: string; at: string; consistency: ExportConsistency };

type Kept = Exclude<ExportAnswer, ExportFailure>;

export class Exports {
  private readonly vm: Vm;
  private readonly snapshots: Snapshots;
  private readonly agent: GuestAgent;
  private readonly paths: LauncherPaths;
  private readonly server;
  private readonly connections = new Set<Socket>();
  private kept: Kept | undefined;
  private readonly holders = new Set<Socket>();
  private expiry: NodeJS.Timeout | undefined;

  constructor(vm: Vm, snapshots: Snapshots, agent: GuestAgent) {
    this.vm = vm;
    this.snapshots = snapshots;
    this.agent = agent;
    this.paths = vm.options.paths;
    this.server = createServer((socket) => this.listen(socket));
    rmSync(this.paths.exports, { force: true });
    this.server.listen(this.paths.exports);
    // What a launcher before this one kept: nobody can go on with it.
    vm.onConnected.push(() => void this.tidy());
    if (vm.qmp !== undefined) void this.tidy();
  }

  end(): void {
    this.server.close();
    clearTimeout(this.expiry);
    for (const socket of this.connections) socket.destroy();
  }

  private listen(socket: Socket): void {
    this.connections.add(socket);
    const lines = new LineSplitter(
      LONGEST_REQUEST,
      (line) => {
        if (line === EXPORT_DONE) void this.letGo(socket, 0);
        else void this.answer(socket, line);
      },
      () => socket.destroy(),
    );
    socket.on('data', (data) => lines.push(data));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.connections.delete(socket);
      void this.letGo(socket, KEPT);
    });
  }

  private async answer(socket: Socket, line: string): Promise<void> {
    let answer: ExportAnswer;
    try {
      const request = JSON.parse(line) as ExportRequest;
      answer = await this.snapshots.alone((qmp, store) => this.keep(qmp, store, request, socket));
    } catch (error) {
      const code = error instanceof VmsteadError ? error.code : 'ExportFailed';
      const passing = code === 'QmpClosed' || code === 'SnapshotWaits';
      answer = { code: passing ? 'ExportWaits' : code, message: (error as Error).message };
      this.vm.options.log.info({ code: answer.code, reason: answer.message }, 'no export');
    }
    socket.write(`${JSON.stringify(answer)}\n`);
  }

  /** The moment that is asked for. Rejects with a VmsteadError. */
  private async keep(
    qmp: QmpClient,
    store: LayerStore,
    request: ExportRequest,
    socket: Socket,
  ): Promise<Kept> {
    if (this.kept !== undefined && this.kept.id === request.id) {
      this.hold(socket);
      return this.kept;
    }
    if (this.holders.size > 0) {
      const message = `disk ${this.kept?.disk} of the VM is being exported; one disk at a time`;
      throw new VmsteadError('ExportWaits', message);
    }
    const { life, log } = this.vm.options;
    const { disk, index, readOnly } = this.choose(request.disk);
    const mark = request.snapshot === undefined ? undefined : markOf(store, request.snapshot);
    const id = mark === undefined ? randomUUID() : `snapshot-${mark.uid}-${disk}`;
    if (request.id !== undefined && request.id !== id) {
      throw new VmsteadError(
        'ExportLost',
        'what was exported is there no more, so that the rest of it cannot be had: it is kept for two minutes, and only by the launcher that began',
      );
    }
    await this.drop(qmp);
    const record: ExportRecord = { disk, index };
    if (mark === undefined && !readOnly) record.below = await activeNode(qmp, { name: disk });
    life.change({ export: record });
    log.info({ disk, snapshot: request.snapshot }, 'a disk is exported');
    try {
      let at: string;
      let consistency: ExportConsistency;
      let node: string;
      if (mark === undefined) {
        const moment = await keepNow(this.vm, qmp, this.agent, record, this.paths.exportAside);
        ({ at, node } = moment);
        consistency = moment.frozen === 'Yes' ? 'Filesystem' : 'Crash';
      } else {
        at = mark.at;
        consistency = mark.memory ? 'Memory' : mark.frozen ? 'Filesystem' : 'Crash';
        ({ node } = await openSnapshot(this.vm, qmp, store, mark.uid, disk));
      }
      await serveNode(qmp, node, this.paths.exportNbd);
      this.kept = { nbd: this.paths.exportNbd, name: EXPORT_NAME, id, disk, at, consistency };
    } catch (error) {
      await this.drop(qmp);
      throw error;
    }
    this.hold(socket);
    return this.kept;
  }

  private choose(name: string | undefined): { disk: string; index: number; readOnly: boolean } {
    const { machineDisks, state } = this.vm;
    if (state !== 'Running' && state !== 'Paused' && state !== 'IoError') {
      throw new VmsteadError('ExportWaits', `the VM is ${state}; its disks can be read when it runs`);
    }
    const disks = machineDisks.flatMap(({ name: disk, device, readOnly, backend }, index) =>
      device === 'disk' ? [{ disk, index, readOnly, attached: backend?.type === 'attached' }] : [],
    );
    const names = disks.map(({ disk }) => disk).join(', ');
    const [only] = name === undefined ? disks : disks.filter(({ disk }) => disk === name);
    if (only === undefined) {
      const message =
        name === undefined ? 'the VM has no disk' : `the VM has no disk ${name}; it has: ${names}`;
      throw new VmsteadError('ExportFailed', message);
    }
    if (name === undefined && disks.length > 1) {
      throw new VmsteadError('ExportFailed', `the VM has several disks (${names}); name one with --disk`);
    }
    if (only.attached) {
      const message = `disk ${only.disk} was plugged in while the VM ran and is reached through another pod; it can be exported after the next start of the VM`;
      throw new VmsteadError('ExportFailed', message);
    }
    return only;
  }

  private hold(socket: Socket): void {
    clearTimeout(this.expiry);
    if (socket.destroyed) this.expire(KEPT);
    else this.holders.add(socket);
  }

  private async letGo(socket: Socket, after: number): Promise<void> {
    if (!this.holders.delete(socket) || this.holders.size > 0) return;
    this.expire(after);
  }

  private expire(after: number): void {
    clearTimeout(this.expiry);
    this.expiry = setTimeout(() => {
      if (this.holders.size === 0) void this.tidy();
    }, after).unref();
  }

  private async tidy(): Promise<void> {
    if (this.vm.options.life.record.export === undefined) return;
    try {
      await this.snapshots.alone(async (qmp) => {
        if (this.holders.size === 0) await this.drop(qmp);
      });
    } catch (error) {
      const { log } = this.vm.options;
      if (this.vm.qmp === undefined) return;
      log.warn({ err: String(error) }, 'an export was not taken down; it is tried again');
      this.expire(KEPT);
    }
  }

  private async drop(qmp: QmpClient): Promise<void> {
    const { life } = this.vm.options;
    this.kept = undefined;
    if (life.record.export === undefined) return;
    await takeDown(qmp, life.record.export, this.paths.exportAside);
    life.forget('export');
  }
}

function markOf(store: LayerStore, name: string) {
  const marks = store.snapshots();
  const mark = marks.find((each) => each.name === name);
  if (mark !== undefined) return mark;
  const known = marks.map((each) => each.name).join(', ');
  throw new VmsteadError(
    'ExportFailed',
    `the VM has no snapshot ${name}${known === '' ? '' : `; it has: ${known}`}`,
  );
}
