/**
 * The QMP commands and events that the launcher uses, in QEMU's own names and shapes, and no other:
 * test/qemu/schema.test.ts holds each of them against `query-qmp-schema` of the real QEMU.
 * Source: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
 */

/** QEMU's RunState. */
export type RunState =
  | 'debug'
  | 'inmigrate'
  | 'internal-error'
  | 'io-error'
  | 'paused'
  | 'postmigrate'
  | 'prelaunch'
  | 'finish-migrate'
  | 'restore-vm'
  | 'running'
  | 'save-vm'
  | 'shutdown'
  | 'suspended'
  | 'watchdog'
  | 'guest-panicked'
  | 'colo';

export interface StatusInfo {
  status: RunState;
  running: boolean;
}

export interface BlockDeviceStats {
  rd_bytes: number;
  wr_bytes: number;
  rd_operations: number;
  wr_operations: number;
  flush_operations: number;
  rd_total_time_ns: number;
  wr_total_time_ns: number;
  flush_total_time_ns: number;
}

export interface BlockStats {
  device?: string;
  qdev?: string;
  'node-name'?: string;
  stats: BlockDeviceStats;
}

interface Call<Arguments, Return> {
  arguments: Arguments;
  return: Return;
}

type Nothing = Record<string, never>;

export interface QmpCommands {
  qmp_capabilities: Call<Nothing, Nothing>;
  'query-status': Call<Nothing, StatusInfo>;
  'query-version': Call<Nothing, { qemu: { major: number; minor: number; micro: number }; package: string }>;
  'query-cpus-fast': Call<Nothing, { 'cpu-index': number; 'thread-id': number }[]>;
  'query-blockstats': Call<{ 'query-nodes'?: boolean }, BlockStats[]>;
  'query-balloon': Call<Nothing, { actual: number }>;
  'query-named-block-nodes': Call<
    { flat?: boolean },
    { 'node-name'?: string; drv: string; image: { 'virtual-size': number; format: string } }[]
  >;
  'query-chardev': Call<Nothing, { label: string; 'frontend-open': boolean }[]>;
  cont: Call<Nothing, Nothing>;
  stop: Call<Nothing, Nothing>;
  system_reset: Call<Nothing, Nothing>;
  system_powerdown: Call<Nothing, Nothing>;
  quit: Call<Nothing, Nothing>;
}

export type QmpCommand = keyof QmpCommands;

export interface QmpEvents {
  STOP: Nothing;
  RESUME: Nothing;
  RESET: { guest: boolean; reason: string };
  SHUTDOWN: { guest: boolean; reason: string };
  POWERDOWN: Nothing;
  GUEST_PANICKED: { action: 'pause' | 'poweroff' | 'run'; info?: { type: string } };
  BLOCK_IO_ERROR: {
    device?: string;
    'node-name'?: string;
    operation: 'read' | 'write';
    action: 'ignore' | 'report' | 'stop';
    nospace?: boolean;
    reason: string;
  };
  VSERPORT_CHANGE: { id: string; open: boolean };
  WATCHDOG: { action: string };
}

export type QmpEventName = keyof QmpEvents;

/** One event; `timestamp` is QEMU's, in seconds and microseconds of the host's clock. */
export type QmpEvent = {
  [Name in QmpEventName]: {
    event: Name;
    data: QmpEvents[Name];
    timestamp: { seconds: number; microseconds: number };
  };
}[QmpEventName];
