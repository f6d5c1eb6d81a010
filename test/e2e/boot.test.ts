import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { events } from '../../operator/kube/resources.ts';
import { deriveMac, deriveUuid } from '../../operator/virtual-machine/names.ts';
import { busyboxImage } from '../cluster/local/definition.ts';
import { Bed, brief } from './support/bed.ts';
import { boots } from './support/guest.ts';
import { blankDisk, clientPod, podNetwork, sectorWriter, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';

/** One VM, looked at from all sides, from its manifest to its deletion. */
let bed: Bed;
const web = tinyVm('web', {
  labels: { app: 'web' },
  cpu: { cores: 2 },
  memory: { size: '160Mi' },
  disks: [blankDisk('data')],
  networks: [podNetwork],
  guest: sectorWriter('data'),
});

beforeAll(async () => {
  bed = await Bed.open('boot');
  await bed.apply(
    web,
    clientPod('client-1', busyboxImage, 'worker-1'),
    clientPod('client-2', busyboxImage, 'worker-2'),
  );
  await bed.untilUp('web');
});

afterAll(() => bed.close());

describe('a VM that was applied', () => {
  test('is Ready and Running, and its guest said that it is up', async () => {
    const vm = await bed.vm('web');
    expect([brief(vm), brief(vm, 'Running'), brief(vm, 'GuestReady'), brief(vm, 'DisksReady')]).toEqual([
      'True Running',
      'True Running',
      'True Signal',
      'True Ready',
    ]);
    expect(vm.status?.observedGeneration).toBe(vm.metadata.generation);
    expect([brief(vm, 'Reconciling'), brief(vm, 'Stalled'), brief(vm, 'RestartRequired')]).toEqual([
      'absent',
      'absent',
      'absent',
    ]);
  });

  test('runs as its spec says, and the status says what was resolved', async () => {
    // What a disk is may come a moment after what the guest is.
    const told = (vm: Awaited<ReturnType<Bed['vm']>>) => vm.status?.disks?.[0]?.aio !== undefined;
    const { status } = await bed.until('web', 'tells of its disk', told);
    expect(status?.resolved).toMatchObject({
      acceleration: 'Emulation',
      firmware: 'BIOS',
      memory: '160Mi',
      vcpus: 2,
      uuid: deriveUuid(bed.namespace, 'web'),
    });
    expect(status?.resolved?.machineType).toMatch(/^pc-q35-\d+\.\d+$/);
    expect(status?.disks).toEqual([
      {
        ...{ name: 'data', claimName: 'web-data', capacity: '64Mi', format: 'raw' },
        // Direct where the volume's file system can: that is the machine's own.
        cache: expect.stringMatching(/^(none|writeback)$/),
        aio: expect.stringMatching(/^(native|threads)$/),
        attachment: { state: 'InPod' },
      },
    ]);
    const [boot] = boots(bed.log('web'));
    expect(boot?.cpus).toBe(2);
    expect(boot?.memoryMiB).toBeGreaterThan(100);
    expect(boot?.memoryMiB).toBeLessThanOrEqual(160);
  });

  test('has the identity that is derived from its name, also in the eyes of the guest', async () => {
    await bed.typeInto(
      'web',
      'cat /sys/class/dmi/id/product_uuid /sys/class/net/eth0/address /sys/block/vda/serial',
    );
    const uuid = deriveUuid(bed.namespace, 'web');
    const mac = deriveMac(bed.namespace, 'web', 'default');
    await bed.untilLog(
      'web',
      `tells ${uuid}, ${mac} and data`,
      (log) => log.includes(uuid) && log.includes(`\n${mac}`) && log.includes('\ndata'),
    );
  });

  test("answers HTTP on its pod's address, from pods on both nodes", async () => {
    const vm = await bed.vm('web');
    const ip = vm.status?.interfaces?.[0]?.ips?.[0];
    const [boot] = boots(bed.log('web'));
    for (const client of ['client-1', 'client-2']) {
      const answer = await poll(`HTTP from ${client}`, () =>
        bed.kubectl('exec', client, '--', 'busybox', 'wget', '-T', '5', '-qO-', `http://${ip}/boot-id`),
      );
      expect(answer.trim()).toBe(boot?.bootId);
    }
  });

  test('shows the columns that a person wants', async () => {
    const lines = (await bed.kubectl('get', 'vm', 'web', '-o', 'wide')).split('\n');
    const vm = await bed.vm('web');
    expect(lines[0]?.split(/\s+/).filter(Boolean)).toEqual([
      ...['NAME', 'PHASE', 'READY', 'REASON', 'NODE', 'IP', 'AGE'],
      ...['CPU', 'MEMORY', 'ACCELERATION', 'RESTART'],
    ]);
    const ip = vm.status?.interfaces?.[0]?.ips?.[0];
    expect(lines[1]?.split(/\s+/).filter(Boolean)).toEqual([
      ...['web', 'Running', 'True', 'Running', vm.status?.launcher?.node, ip, expect.any(String)],
      ...['2', '160Mi', 'Emulation'],
    ]);
  });

  test('gives its labels to the pod, so that a Service finds it', async () => {
    await bed.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 8000, targetPort: 80 }] },
    });
    const answer = await poll('HTTP by the name of the Service', () =>
      bed.kubectl('exec', 'client-2', '--', 'busybox', 'wget', '-T', '5', '-qO-', 'http://web:8000/boot-id'),
    );
    expect(answer.trim()).toBe(boots(bed.log('web'))[0]?.bootId);
  });

  test('runs in a pod that Pod Security restricted admits, without a token for the API', async () => {
    const pod = await bed.pod('web');
    expect(pod.metadata.annotations?.['vmstead.io/machine']).toBeDefined();
    expect(pod.spec?.automountServiceAccountToken).toBe(false);
    const found = await bed.inLauncher('web', 'sh', '-c', 'ls /var/run/secrets/kubernetes.io 2>&1 || true');
    expect(found).toContain('No such file');
  });

  test('is told of by an event', async () => {
    const told = await poll('the event', async () => {
      const list = await bed.client.list(events, {
        namespace: bed.namespace,
        fieldSelector: 'involvedObject.kind=VirtualMachine,involvedObject.name=web',
      });
      return list.find((each) => each.reason === 'Running');
    });
    const vm = await bed.vm('web');
    expect(told.message).toBe(
      `The guest runs on node ${vm.status?.launcher?.node} in pod ${vm.status?.launcher?.podName} (Emulation).`,
    );
  });

  test('tells how its start went, in the right order', async () => {
    const startup = (await bed.vm('web')).status?.startup;
    const times = [startup?.createdAt, startup?.scheduledAt, startup?.machineReadyAt, startup?.guestUpAt];
    // The API server keeps whole seconds.
    const seconds = times.map((time) => Math.floor(Date.parse(time ?? '') / 1000));
    expect(seconds).not.toContain(Number.NaN);
    expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
  });

  test('has an idle status: heartbeats write nothing', async () => {
    const { resourceVersion } = (await bed.vm('web')).metadata;
    // Longer than a launcher's heartbeat of 10 s.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect((await bed.vm('web')).metadata.resourceVersion).toBe(resourceVersion);
  });

  test('leaves its manifest alone through a whole life, and its status small', async () => {
    expect(await bed.diff(web)).toBe('');
    expect(JSON.stringify((await bed.vm('web')).status).length).toBeLessThan(16 * 1024);
  });

  test('goes with its pod, its lease and its claim, and what it wrote is whole', async () => {
    await bed.patch('web', { runStrategy: 'Halted' });
    const off = await bed.untilCondition('web', 'Ready', 'True Halted');
    expect(off.status?.lastRun?.result).toBe('Stopped');
    expect(await bed.judge('web', 'web-data')).toEqual([]);
    await bed.patch('web', { runStrategy: 'Always' });
    expect(await bed.diff(web)).toBe('');
    await bed.delete('web');
    await bed.untilGone('web');
    await poll('nothing to be left', async () => (await bed.leftovers()).length === 0);
  });
});
