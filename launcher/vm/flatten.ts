/**
 * Makes disks independent of the image that they began as, while the guest runs. Level-triggered: what is to be
 * done follows from QEMU's own block graph and jobs, so that any launcher goes on where another one was.
 */
import type { DiskReport } from '../../crds/channel.ts';
import { baseNodes, diskNode } from '../machine/disks.ts';
import type { QmpClient } from '../qmp/client.ts';
import { QmpClosedError } from '../qmp/errors.ts';
import type { Vm } from './vm.ts';

/** Bytes a second that are copied: the guest's own requests go before. A test that wants to be in time takes less. */
const SPEED = Number(process.env.VMSTEAD_COPY_SPEED ?? 100 * 1024 * 1024);
/** Milliseconds between two looks while a disk still needs its image, and after a copy that failed. */
const LOOK = 1_000;
const AFTER_FAILURE = 60_000;

export type BaseReport = NonNullable<DiskReport['base']>;

/** By the disk's name; disks that did not begin as an image are not in it. */
export type Bases = ReadonlyMap<string, BaseReport>;

/** @param changed called when a report has changed */
export function flattenDisks(vm: Vm, changed: () => void): Bases {
  const reports = new Map<string, BaseReport>();
  const waiting = new Map<string, number>();
  const began = vm.options.description.disks.flatMap(({ name, backend }, index) =>
    (backend?.type === 'file' || backend?.type === 'block') && backend.base !== undefined
      ? [{ name, index }]
      : [],
  );
  const dependent = () => began.filter(({ name }) => reports.get(name)?.state !== 'Independent');
  const tell = (name: string, report: BaseReport) => {
    if (JSON.stringify(reports.get(name)) === JSON.stringify(report)) return;
    reports.set(name, report);
    changed();
  };
  const look = async () => {
    const { qmp } = vm;
    if (qmp !== undefined) {
      try {
        for (const { name, index } of dependent()) {
          const flatten = vm.disks[index]?.flatten === true;
          const exported = vm.options.life.record.export !== undefined;
          const mayStart =
            flatten && !exported && vm.state === 'Running' && (waiting.get(name) ?? 0) < Date.now();
          const { report, failed } = await step(qmp, index, mayStart);
          if (failed !== undefined) {
            waiting.set(name, Date.now() + AFTER_FAILURE);
            vm.options.log.warn(
              { disk: name, reason: failed },
              'the copy of the image stopped; it goes on in a minute',
            );
          }
          tell(name, report);
        }
      } catch (error) {
        if (!(error instanceof QmpClosedError))
          vm.options.log.warn({ err: String(error) }, 'the copy of an image cannot be looked after');
      }
    }
    if (dependent().length > 0) setTimeout(look, LOOK).unref();
  };
  if (began.length > 0) setTimeout(look, LOOK).unref();
  return reports;
}

interface Step {
  report: BaseReport;
  failed?: string | undefined;
}

/** Looks at one disk, and does the next thing for it. */
async function step(qmp: QmpClient, index: number, mayStart: boolean): Promise<Step> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  const names = new Set(nodes.map((node) => node['node-name']));
  const [base] = baseNodes(index);
  if (!names.has(base)) return { report: { state: 'Independent' } };
  const id = `flatten${index}`;
  const job = (await qmp.execute('query-jobs')).find((each) => each.id === id);
  if (job === undefined) {
    const top = nodes.find((node) => node['node-name'] === diskNode(index));
    if (top !== undefined && top.backing_file === undefined) {
      await letGo(qmp, index, names);
      return { report: { state: 'Independent' } };
    }
    if (!mayStart) return { report: { state: 'Linked' } };
    await qmp.execute('block-stream', {
      'job-id': id,
      device: diskNode(index),
      speed: SPEED,
      'on-error': 'report',
      'auto-finalize': false,
      'auto-dismiss': false,
    });
    return { report: { state: 'Copying' } };
  }
  const report: BaseReport = {
    state: 'Copying',
    copiedBytes: job['current-progress'],
    totalBytes: job['total-progress'],
  };
  if (job.status === 'pending') {
    // QEMU writes the mark out of the header without a flush: what the header then no longer points to would be
    // lost with QEMU's own caches.
    await flush(qmp, index);
    await qmp.execute('job-finalize', { id });
  } else if (job.status === 'concluded') {
    await qmp.execute('job-dismiss', { id });
    if (job.error !== undefined) return { report: { state: 'Linked' }, failed: job.error };
  }
  return { report };
}

/** Only when the header on the storage says that the image is not needed is that true. */
async function letGo(qmp: QmpClient, index: number, names: ReadonlySet<string | undefined>): Promise<void> {
  await flush(qmp, index);
  for (const node of baseNodes(index)) {
    if (names.has(node)) await qmp.execute('blockdev-del', { 'node-name': node });
  }
}

/** QMP has no command for it. Throws with what QEMU said, where that is anything. */
async function flush(qmp: QmpClient, index: number): Promise<void> {
  const command = `qemu-io ${diskNode(index)} "flush"`;
  const answer = await qmp.execute('human-monitor-command', { 'command-line': command }, { timeout: 60_000 });
  if (answer.trim() !== '') throw new Error(`flush: ${answer.trim()}`);
}
