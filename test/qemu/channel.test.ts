/** A launcher and an operator on the channel; the guest's network, and what it must not reach. */
import { spawn } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { docker } from '../../images/docker.ts';
import type { TinyGuest } from '../../images/guests/build.ts';
import { binary } from '../../setup/paths.ts';
import { TestOperator } from './support/channel.ts';
import { isolate, release } from './support/isolated.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const UP = /VMSTEAD-GUEST-UP boot_id=(\S+)/;
/** A network of Docker's without a way out, and its gateway: this machine. */
const NETWORK = `vmstead-test-${process.pid}`;
let gateway: string;
let guest: TinyGuest;
let folder: string;

beforeAll(async () => {
  guest = await tinyGuest();
  ({ folder, gateway } = await isolate(NETWORK));
});
afterAll(async () => {
  await release(NETWORK, folder);
});

async function startWith(
  operator: TestOperator,
  commandLine = '',
  more: readonly string[] = [],
): Promise<Launcher> {
  const { address, serverName, caCertificate } = operator;
  const description = machine(commandLine, {
    disks: [fileDisk('data')],
    networks: [
      {
        name: 'default',
        model: 'virtio',
        mac: '02:00:00:00:00:01',
        ports: [
          { protocol: 'TCP', port: 80 },
          { protocol: 'UDP', port: 7 },
        ],
      },
    ],
    metricsPort: 9095,
    // The first address leads nowhere: the next one is tried.
    channel: { addresses: ['127.0.0.1:1', address], serverName, caCertificate },
  });
  return await Launcher.start(description, {
    guest,
    docker: [`--network=${NETWORK}`, ...more],
    prepare: (etc) => copyFile(join(folder, 'token'), join(etc, 'token')),
  });
}

/** promtool's own opinion of names, types and help. */
async function promtoolApproves(text: string): Promise<void> {
  const promtool = spawn(binary('promtool', 'promtool'), ['check', 'metrics'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let words = '';
  promtool.stdout.on('data', (chunk) => {
    words += chunk;
  });
  promtool.stderr.on('data', (chunk) => {
    words += chunk;
  });
  promtool.stdin.end(text);
  const code = await new Promise((resolve) => promtool.once('close', resolve));
  expect([code, words]).toEqual([0, '']);
}

test('reports, commands and metrics of a VM, and what its guest reaches', { timeout: 180_000 }, async () => {
  await using operator = await TestOperator.start(gateway, folder);
  await using launcher = await startWith(operator, 'vmstead.heartbeat=0.2');
  const [up] = await launcher.guestSays(UP, 1, 60);
  await expect
    .poll(() => operator.report, { timeout: 30_000 })
    .toMatchObject({
      state: 'Running',
      guestReady: 'Signal',
      machineType: 'pc-q35-10.0',
      disks: [{ name: 'data', capacityBytes: 64 * 1024 * 1024, format: 'raw' }],
    });
  expect(operator.tokens.at(-1)).toBe('Bearer a-token');
  expect(operator.hellos.at(-1)).toMatchObject({ incarnation: 1, restarts: 0 });

  // Pause stops the heartbeat, resume lets it go on.
  expect(await operator.command('op-1', 'pause')).toEqual({ error: undefined });
  expect(operator.report).toMatchObject({ state: 'Paused' });
  const beats = async () => (await launcher.logs()).guest.match(/VMSTEAD-HEARTBEAT/g)?.length ?? 0;
  const paused = await beats();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect((await beats()) - paused).toBeLessThanOrEqual(1);
  expect(await operator.command('op-2', 'resume')).toEqual({ error: undefined });
  expect(operator.report).toMatchObject({ state: 'Running' });

  // A cut connection is dialled again and changes nothing for the guest.
  operator.cut();
  await expect.poll(() => operator.hellos.length, { timeout: 20_000 }).toBe(2);

  const ip = (
    await docker([
      'inspect',
      launcher.container,
      '--format',
      `{{(index .NetworkSettings.Networks "${NETWORK}").IPAddress}}`,
    ])
  ).trim();
  const page = await fetch(`http://${ip}/boot-id`);
  expect(await page.text()).toContain(up![1]);
  const metrics = await fetch(`http://${ip}:9095/metrics`);
  expect(metrics.headers.get('content-type')).toContain('text/plain');
  const text = await metrics.text();
  expect(text).toContain('vmstead_vm_state{state="Running",namespace="default",name="test"} 1');
  expect(text).toMatch(/vmstead_vm_storage_read_traffic_bytes_total\{drive="data",[^}]*\} [1-9]/);
  expect(text).toMatch(/vmstead_vm_vcpu_seconds_total\{id="0",[^}]*\} [1-9]/);
  expect(text).toMatch(/vmstead_vm_network_receive_bytes_total\{interface="default",[^}]*\} [1-9]/);

  await promtoolApproves(text);

  // By no address of its pod does the guest get a word out of /metrics; its own port shows that the probe works.
  for (const address of ['10.0.2.2', ip, '127.0.0.1']) {
    await launcher.typeIntoConsole(
      `wget -q -T 3 -O - http://${address}:9095/metrics; echo "GOT-${address}-$?"`,
    );
    const [got] = await launcher.guestSays(new RegExp(`\\nGOT-${address.replaceAll('.', '\\.')}-(\\d+)`));
    expect(got![1], address).not.toBe('0');
  }
  expect((await launcher.logs()).guest).not.toContain('vmstead_vm_');
  await launcher.typeIntoConsole(`wget -q -T 5 -O - http://${ip}/boot-id; echo "SELF-$?"`);
  await launcher.guestSays(/\nSELF-0/);

  // Reset: the same QEMU, another boot; the same request again is carried out once.
  expect(await operator.command('op-3', 'reset')).toEqual({ error: undefined });
  expect(await operator.command('op-3', 'reset')).toEqual({ error: undefined });
  const boots = await launcher.guestSays(UP, 2, 60);
  expect(new Set(boots.map((boot) => boot[1])).size).toBe(2);

  // A restarted launcher keeps to that.
  await launcher.kill('node');
  await expect.poll(() => operator.hellos.at(-1), { timeout: 20_000 }).toMatchObject({ restarts: 1 });
  expect(await operator.command('op-3', 'reset')).toEqual({ error: undefined });
  expect(await operator.command('op-1', 'pause')).toEqual({ error: undefined });
  await new Promise((resolve) => setTimeout(resolve, 3000));
  expect((await launcher.logs()).guest.match(new RegExp(UP.source, 'g'))).toHaveLength(2);

  operator.send({ type: 'disowned', reason: 'another launcher has the disks' });
  const { exitCode, message } = await launcher.ended();
  expect(message).toMatchObject({
    result: 'Disowned',
    message: 'the operator said that this launcher no longer owns the VM: another launcher has the disks',
  });
  expect(exitCode).toBe(71);
});

test('a refusal of the operator keeps the VM running, "gone" ends it', { timeout: 120_000 }, async () => {
  await using operator = await TestOperator.start(gateway, folder);
  operator.answer = 401;
  await using launcher = await startWith(operator);
  await launcher.guestSays(UP, 1, 60);
  await expect.poll(() => operator.tokens.length, { timeout: 20_000 }).toBeGreaterThan(2);
  expect(await launcher.qemus()).toBe(1);
  operator.answer = 410;
  expect((await launcher.ended()).message).toMatchObject({ result: 'Disowned' });
});

test('a guest that a person paused stays so when there is room on its full disk', {
  timeout: 180_000,
}, async () => {
  await using operator = await TestOperator.start(gateway, folder);
  await using launcher = await startWith(operator, '', ['--tmpfs=/disks/data:mode=1777,size=64m']);
  await launcher.guestSays(UP, 1, 60);
  await expect.poll(() => operator.report, { timeout: 30_000 }).toMatchObject({ state: 'Running' });
  await launcher.sh('head -c 55M /dev/zero | tr "\\0" x >/disks/data/other');
  await launcher.typeIntoConsole('fill /dev/vda 24');
  await expect
    .poll(() => operator.report, { timeout: 60_000 })
    .toMatchObject({ state: 'IoError', ioError: { disk: 'data', noSpace: true } });
  expect(await operator.command('op-1', 'pause')).toEqual({ error: undefined });
  await expect.poll(() => operator.report, { timeout: 5000 }).toMatchObject({ state: 'Paused' });
  await launcher.sh('rm /disks/data/other');
  await new Promise((resolve) => setTimeout(resolve, 6000));
  expect(operator.report).toMatchObject({ state: 'Paused' });
  expect(await operator.command('op-2', 'resume')).toEqual({ error: undefined });
  await launcher.guestSays(/VMSTEAD-FILL \/dev\/vda mib=24 ok/, 1, 60);
});

test('a paused guest is woken to hear its power button', { timeout: 120_000 }, async () => {
  await using operator = await TestOperator.start(gateway, folder);
  await using launcher = await startWith(operator);
  await launcher.guestSays(UP, 1, 60);
  await expect.poll(() => operator.report, { timeout: 30_000 }).toMatchObject({ state: 'Running' });
  expect(await operator.command('op-1', 'pause')).toEqual({ error: undefined });
  expect((await launcher.stop(30)).message).toMatchObject({ result: 'Stopped' });
});
