/** The QMP client on a real QEMU: what it says of each way in which a command can fail. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { docker } from '../../images/docker.ts';
import { QmpClient } from '../../launcher/qmp/client.ts';
import type { QmpEvent } from '../../launcher/qmp/commands.ts';

let folder: string;
let container: string;
let path: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vmstead-qmp-'));
  await chmod(folder, 0o777);
  path = join(folder, 'qmp.sock');
  const image = process.env.VMSTEAD_QEMU_IMAGE ?? 'vmstead/qemu:dev';
  container = (
    await docker([
      ...[
        'run',
        '--detach',
        '--network=none',
        `--volume=${folder}:/qmp`,
        '--entrypoint=qemu-system-x86_64',
        image,
      ],
      ...['-nodefaults', '-display', 'none', '-machine', 'q35', '-action', 'shutdown=pause'],
      ...['-qmp', 'unix:/qmp/qmp.sock,server=on,wait=off'],
    ])
  ).trim();
});
afterAll(async () => {
  await docker(['rm', '--force', container]);
  await rm(folder, { recursive: true, force: true });
});

async function connected(onClose: (reason: Error | undefined) => void, events: string[]): Promise<QmpClient> {
  for (;;) {
    try {
      return await QmpClient.connect(path, {
        onEvent: (event: QmpEvent) => events.push(event.event),
        onClose,
      });
    } catch {
      await sleep(50);
    }
  }
}

test('answers, events, refusals, time-outs, and the end', { timeout: 60_000 }, async () => {
  const events: string[] = [];
  const closed: (Error | undefined)[] = [];
  const qmp = await connected((reason) => closed.push(reason), events);
  expect(await qmp.execute('query-status')).toMatchObject({ status: 'running', running: true });

  await qmp.execute('stop');
  await qmp.execute('cont');
  expect(events).toEqual(['STOP', 'RESUME']);

  // QEMU is alive and refuses: its own words.
  await expect(qmp.execute('query-balloon')).rejects.toMatchObject({
    code: 'QmpRefused',
    errorClass: 'DeviceNotActive',
    command: 'query-balloon',
  });
  expect(await qmp.ping()).toBe(true);

  // The monitor serves one client at a time: a second one is not greeted.
  const second = QmpClient.connect(path, { onEvent() {}, onClose() {} }, 300);
  await expect(second).rejects.toMatchObject({ code: 'QmpTimeout' });

  // QEMU is stuck: no answer is not an end.
  await docker(['pause', container]);
  await expect(qmp.execute('query-version', {}, { timeout: 200 })).rejects.toMatchObject({
    code: 'QmpTimeout',
  });
  expect(await qmp.ping(200)).toBe(false);
  await docker(['unpause', container]);
  expect(await qmp.ping()).toBe(true);

  // QEMU dies with a command under way: one end, told once.
  await docker(['pause', container]);
  const lost = qmp.execute('query-version');
  await docker(['unpause', container]);
  await docker(['kill', container]);
  await lost.catch(() => {});
  await expect.poll(() => closed).toHaveLength(1);
  await expect(qmp.execute('query-status')).rejects.toMatchObject({ code: 'QmpClosed' });
  expect(await qmp.ping()).toBe(false);
});
