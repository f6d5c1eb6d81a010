/** Everything beside QEMU itself: logs, serial, console, guest, channel, metrics. None of it can end the VM. */
import { readFileSync, writeFileSync } from 'node:fs';
import { LIVE_FEATURE, PLUG_FEATURE, SNAPSHOT_FEATURE } from '../crds/channel.ts';
import { ChannelClient } from './channel/client.ts';
import { Exports } from './export/exports.ts';
import { giveBackLater } from './give-back.ts';
import { type AgentFacts, NO_AGENT, watchAgent } from './guest/agent.ts';
import { guestAgent } from './guest/freeze.ts';
import { listenForReady } from './guest/ready.ts';
import { jsonLog } from './json-log.ts';
import type { EarlyLog, Log } from './log.ts';
import { DEVICE_ID } from './machine/devices.ts';
import { serveMetrics } from './metrics/server.ts';
import { QmpClosedError } from './qmp/errors.ts';
import { LineSplitter } from './qmp/lines.ts';
import { guestLines } from './serial/guest-lines.ts';
import { unblockedStdout } from './serial/output.ts';
import { FileTail } from './serial/tail.ts';
import { serveViewers } from './serial/viewers.ts';
import { Snapshots } from './snapshot/snapshots.ts';
import { carryOut } from './vm/commands.ts';
import { flattenDisks } from './vm/flatten.ts';
import { LiveDisks } from './vm/live/live-disks.ts';
import { report } from './vm/report.ts';
import { watchRoom } from './vm/room-watch.ts';
import type { Vm } from './vm/vm.ts';

/** Bytes of the serial log on disk. */
const SERIAL_LIMIT = 1024 * 1024;

/** Longest line of QEMU's that is passed on. */
const LONGEST_WORDS = 4096;

interface Services {
  /** To be called when anything that a report tells has changed. */
  changed(): void;
  end(): Promise<void>;
}

export function startServices(vm: Vm, early: EarlyLog): Services {
  const { description, life, paths } = vm.options;
  const log = jsonLog(description);
  early.useFrom(log);

  const serial = followSerial(vm);
  const words = followWords(vm, early);
  const viewers = serveViewers(paths.viewers, paths.console);
  let facts: AgentFacts = NO_AGENT;

  const bases = flattenDisks(vm, () => channel?.changed());
  const live = new LiveDisks(vm, () => channel?.changed());
  const channel: ChannelClient | undefined =
    description.channel === undefined
      ? undefined
      : new ChannelClient({
          channel: description.channel,
          tokenPath: paths.token,
          log: early,
          hello: {
            type: 'hello',
            protocol: 1,
            launcherVersion: process.env.VMSTEAD_VERSION ?? 'dev',
            incarnation: description.incarnation,
            restarts: life.record.restarts,
            features: [LIVE_FEATURE, PLUG_FEATURE, SNAPSHOT_FEATURE],
          },
          report: () => ({ type: 'report', report: report(vm, facts, live, bases, snapshots) }),
          machine: (message) => void live.want(message),
          command: (id, command) => carryOut(vm, id, command),
          async snapshot(take, forget) {
            if (take !== undefined) await snapshots.take(take);
            if (forget !== undefined) await snapshots.forget(forget);
          },
          disowned(reason) {
            const message = `the operator said that this launcher no longer owns the VM: ${reason}`;
            void vm.quit({ result: 'Disowned', message });
          },
        });
  const changed = () => channel?.changed();

  const up = (how: 'Signal' | 'Agent') => {
    if (life.record.guestReady !== undefined) return;
    life.change({ guestReady: how, guestUpAt: new Date().toISOString() });
    log.info({ how }, 'the guest is up');
    giveBackLater();
    channel?.changed();
  };
  const ready = listenForReady(paths.guestPort, () => up('Signal'));
  const agent = watchAgent(paths.guestAgent, (now) => {
    facts = now;
    if (now.connected) up('Agent');
    channel?.changed();
  });
  const guest = guestAgent(
    (task) => agent.lend(task),
    (frozen) => (frozen ? life.change({ frozen }) : life.forget('frozen')),
  );
  const snapshots = new Snapshots(vm, guest);
  const exports = new Exports(vm, snapshots, guest);
  vm.onEvent.push((event) => {
    if (event.event === 'VSERPORT_CHANGE' && event.data.id === DEVICE_ID.agentPort)
      agent.setOpen(event.data.open);
  });
  watchRoom(vm);
  if (description.metricsPort !== undefined) serveMetrics(vm, description.metricsPort, early);
  const connected = async () => {
    if (await isAgentOpen(vm)) agent.setOpen(true);
    changed();
  };
  vm.onConnected.push(() => void connected());
  void connected();
  void channel?.run();

  return {
    changed,
    async end() {
      ready[Symbol.dispose]();
      agent.end();
      snapshots.end();
      exports.end();
      viewers[Symbol.dispose]();
      await channel?.end();
      serial.end();
      words.end();
    },
  };
}

function followSerial(vm: Vm): FileTail {
  const { paths } = vm.options;
  const print = unblockedStdout();
  const lines = guestLines();
  return new FileTail({
    path: paths.serialLog,
    offset: readOffset(paths.serialOffset),
    limit: SERIAL_LIMIT,
    onData(data, offset) {
      print(lines(data));
      writeFileSync(paths.serialOffset, String(offset));
    },
  });
}

/** What QEMU says on its standard error, into the launcher's log. */
function followWords({ options: { paths, life } }: Vm, log: Log): FileTail {
  const lines = new LineSplitter(
    LONGEST_WORDS,
    (line) => log.warn({ qemu: line }, 'QEMU says'),
    () => {},
  );
  return new FileTail({
    path: paths.qemuLog,
    // A launcher before this one has told the rest.
    offset: life.record.restarts === 0 ? 0 : Number.MAX_SAFE_INTEGER,
    limit: SERIAL_LIMIT,
    onData: (data) => lines.push(data),
  });
}

function readOffset(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8')) || 0;
  } catch {
    return 0;
  }
}

/** Whether the guest has its agent's port open, which QEMU tells by itself only when it changes. */
async function isAgentOpen(vm: Vm): Promise<boolean> {
  try {
    const chardevs = (await vm.qmp?.execute('query-chardev')) ?? [];
    return chardevs.some((each) => each.label === DEVICE_ID.agentPort && each['frontend-open']);
  } catch (error) {
    if (!(error instanceof QmpClosedError)) vm.options.log.warn({ err: String(error) }, 'QEMU does not tell');
    return false;
  }
}
