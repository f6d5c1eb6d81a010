import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildFullGuest } from '../../images/guests/build.ts';
import { cacheDirectory } from '../../setup/paths.ts';
import { Bed, brief } from '../e2e/support/bed.ts';
import { operation, podNetwork, tinyVm } from '../e2e/support/manifests.ts';

/** An installed Debian on the cluster: UEFI with its NVRAM kept, cloud-init from a Secret, the guest agent, reboot, shutdown. */
const BOOT = { timeout: 420_000 };
const NAME = 'debian';
let bed: Bed;
let image = '';

beforeAll(async () => {
  bed = await Bed.open(NAME);
  image = (await buildFullGuest(cacheDirectory)).diskImage.reference;
  await bed.cluster.loadImages([image]);
}, 600_000);

afterAll(() => bed.close());

test('boots by UEFI, is set up by its Secret, answers by its agent, reboots, and shuts down', async () => {
  const lines = [
    'echo "SEEDED $(hostname) $(ls /sys/firmware | grep efi)" > /dev/ttyS0',
    // What is in the NVRAM is in the state claim.
    'efibootmgr --quiet --create --disk /dev/vda --label kept-in-nvram > /dev/ttyS0 2>&1 || true',
  ];
  const userData = `#cloud-config\nruncmd:\n${lines.map((line) => `- ${line}\n`).join('')}`;
  await bed.kubectl('create', 'secret', 'generic', NAME, `--from-literal=userdata=${userData}`);
  const { kernel: _, ...spec } = tinyVm(NAME).spec;
  const manifest = {
    ...tinyVm(NAME),
    spec: {
      ...spec,
      runStrategy: 'RerunOnFailure' as const,
      memory: { size: '768Mi' },
      firmware: { type: 'UEFI' as const },
      state: { size: '16Mi', reclaimPolicy: 'Delete' as const },
      disks: [
        {
          name: 'root',
          bootOrder: 1,
          source: { containerImage: { image, pullPolicy: 'IfNotPresent' as const } },
        },
      ],
      networks: [podNetwork],
      cloudInit: { userDataSecretRef: { name: NAME } },
      terminationGracePeriodSeconds: 180,
    },
  };
  await bed.apply(manifest);
  const vm = await bed.untilCondition(NAME, 'GuestReady', 'True Agent', BOOT);
  expect([brief(vm), brief(vm, 'AgentConnected'), vm.status?.resolved?.firmware]).toEqual([
    'True Running',
    'True Connected',
    'UEFI',
  ]);
  await bed.untilLog(NAME, 'is set up', (log) => log.includes(`SEEDED ${NAME} efi`), BOOT);

  // The kernel says its version once in each boot.
  const kernels = (log: string) => log.match(/Linux version \d/g)?.length ?? 0;
  const before = kernels(bed.log(NAME));
  await bed.operate(operation('reset', NAME, 'Reset'));
  await bed.untilLog(NAME, 'boots again, in the same pod', (log) => kernels(log) > before, BOOT);
  await bed.untilCondition(NAME, 'GuestReady', 'True Agent', BOOT);
  expect((await bed.vm(NAME)).status?.launcher?.incarnation).toBe(1);

  const stop = await bed.operate(operation('stop', NAME, 'Stop'), { timeout: 240_000 });
  expect(stop.status?.phase).toBe('Succeeded');
  const off = await bed.untilCondition(NAME, 'Ready', 'True StoppedByOperation');
  expect(off.status?.lastRun).toMatchObject({
    result: 'Stopped',
    message: 'the guest powered itself off when it was asked to',
  });
  expect(await bed.diff(manifest)).toBe('');
});
