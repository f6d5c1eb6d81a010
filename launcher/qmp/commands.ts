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

/** What a device's drive has in it, and its limits: bytes (bps) and operations a second, 0 for none. */
export interface BlockInserted {
  'node-name'?: string;
  bps: number;
  bps_rd: number;
  bps_wr: number;
  iops: number;
  iops_rd: number;
  iops_wr: number;
}

export interface BlockInfo {
  device: string;
  qdev?: string;
  locked: boolean;
  tray_open?: boolean;
  inserted?: BlockInserted;
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
    {
      'node-name'?: string;
      drv: string;
      file: string;
      backing_file?: string;
      image: { 'virtual-size': number; format: string };
    }[]
  >;
  'query-chardev': Call<Nothing, { label: string; 'frontend-open': boolean }[]>;
  'query-block': Call<Nothing, BlockInfo[]>;
  block_set_io_throttle: Call<
    { id: string } & Record<'bps' | 'bps_rd' | 'bps_wr' | 'iops' | 'iops_rd' | 'iops_wr', number>,
    Nothing
  >;
  block_resize: Call<{ 'node-name': string; size: number }, Nothing>;
  'blockdev-open-tray': Call<{ id: string; force?: boolean }, Nothing>;
  'blockdev-close-tray': Call<{ id: string }, Nothing>;
  'blockdev-remove-medium': Call<{ id: string }, Nothing>;
  'blockdev-insert-medium': Call<{ id: string; 'node-name': string }, Nothing>;
  'blockdev-add': Call<Record<string, unknown> & { driver: string; 'node-name': string }, Nothing>;
  'blockdev-del': Call<{ 'node-name': string }, Nothing>;
  device_add: Call<Record<string, unknown> & { driver: string; id: string }, Nothing>;
  device_del: Call<{ id: string }, Nothing>;
  'object-add': Call<Record<string, unknown> & { 'qom-type': string; id: string }, Nothing>;
  'object-del': Call<{ id: string }, Nothing>;
  'qom-set': Call<{ path: string; property: string; value: string }, Nothing>;
  'qom-list': Call<{ path: string }, { name: string; type: string }[]>;
  'qom-get': Call<{ path: string; property: string }, unknown>;
  'nbd-server-start': Call<{ addr: { type: 'unix'; data: { path: string } } }, Nothing>;
  'nbd-server-stop': Call<Nothing, Nothing>;
  'block-export-add': Call<{ type: 'nbd'; id: string; 'node-name': string; name: string }, Nothing>;
  'block-export-del': Call<{ id: string; mode: 'hard' }, Nothing>;
  'blockdev-set-active': Call<{ active: boolean }, Nothing>;
  transaction: Call<
    { actions: { type: 'blockdev-snapshot'; data: { node: string; overlay: string } }[] },
    Nothing
  >;
  'block-commit': Call<
    {
      'job-id': string;
      device: string;
      'top-node': string;
      'base-node': string;
      'backing-file': string;
      'auto-dismiss': boolean;
    },
    Nothing
  >;
  'query-jobs': Call<
    Nothing,
    {
      id: string;
      type: string;
      status: string;
      'current-progress': number;
      'total-progress': number;
      error?: string;
    }[]
  >;
  'block-stream': Call<
    {
      'job-id': string;
      device: string;
      speed: number;
      'on-error': 'report';
      'auto-finalize': boolean;
      'auto-dismiss': boolean;
    },
    Nothing
  >;
  'job-finalize': Call<{ id: string }, Nothing>;
  'human-monitor-command': Call<{ 'command-line': string }, string>;
  'job-cancel': Call<{ id: string }, Nothing>;
  'job-dismiss': Call<{ id: string }, Nothing>;
  'migrate-set-capabilities': Call<{ capabilities: { capability: string; state: boolean }[] }, Nothing>;
  'migrate-set-parameters': Call<{ 'max-bandwidth'?: number; 'downtime-limit'?: number }, Nothing>;
  migrate: Call<{ uri: string }, Nothing>;
  'migrate-incoming': Call<{ uri: string; 'exit-on-error'?: boolean }, Nothing>;
  'migrate-continue': Call<{ state: 'pre-switchover' }, Nothing>;
  migrate_cancel: Call<Nothing, Nothing>;
  'query-migrate': Call<Nothing, { status?: string; 'error-desc'?: string }>;
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
  DEVICE_DELETED: { device?: string; path: string };
  DEVICE_TRAY_MOVED: { device: string; id: string; 'tray-open': boolean };
  MIGRATION: { status: string };
  JOB_STATUS_CHANGE: { id: string; status: string };
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
