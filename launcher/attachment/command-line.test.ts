import { describe, expect, it } from 'vitest';
import type { PreparedDisk } from '../machine/host.ts';
import { connectionsIn } from './clients.ts';
import { keyLine, storageDaemon } from './command-line.ts';

const paths = { key: '/run/key', pid: '/run/pid' };
const disk: PreparedDisk = {
  driver: 'file',
  filename: '/disks/a,b/disk.img',
  format: 'raw',
  direct: true,
  readOnly: false,
  aio: 'native',
};
const argument = (args: readonly string[], name: string) => args[args.indexOf(name) + 1] ?? '';

describe('qemu-storage-daemon', () => {
  it('exports the disk under its name, to those who have the key', () => {
    const args = storageDaemon(disk, 'uid', paths);
    expect(JSON.parse(argument(args, '--export'))).toEqual({
      ...{ type: 'nbd', id: 'disk', 'node-name': 'disk0', name: 'uid', writable: true },
    });
    expect(JSON.parse(argument(args, '--object'))).toMatchObject({
      id: 'key',
      endpoint: 'server',
      dir: '/run/key',
    });
    expect(argument(args, '--nbd-server')).toContain('tls-creds=key');
    expect(JSON.parse(argument(args, '--blockdev'))).toMatchObject({
      ...{ 'node-name': 'disk0', filename: '/disks/a,b/disk.img', locking: 'on', cache: { direct: true } },
    });
    expect(keyLine('ab')).toBe('vmstead:ab\n');
  });

  it('lets nobody write to a disk that is only read', () => {
    const args = storageDaemon({ ...disk, readOnly: true }, 'uid', paths);
    expect(JSON.parse(argument(args, '--export'))).toMatchObject({ writable: false });
    expect(JSON.parse(argument(args, '--blockdev'))).toMatchObject({ 'read-only': true });
  });
});

it('sees who is connected, and takes neither the listener nor what is over for somebody', () => {
  const line = (local: string, state: string) =>
    `   0: 00000000:${local} 0100007F:C001 ${state} 00000000:00000000 00:00000000 00000000   107        0 1 1`;
  const table = (...lines: string[]) => ['  sl  local_address rem_address   st', ...lines, ''].join('\n');
  expect(connectionsIn(table(line('2A39', '0A'), line('2A39', '06'), line('2A38', '01')), 10809)).toBe(0);
  expect(connectionsIn(table(line('2A39', '0A'), line('2A39', '01')), 10809)).toBe(1);
});
