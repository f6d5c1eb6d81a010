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

/** EFI's variables are what the NVRAM holds; this one is made at the first boot, and shown at each: past its attributes. */
const VARIABLE = '/sys/firmware/efi/efivars/Vmstead-3ac4a5a5-0a4f-4f0e-9d5c-5e7c1a8b8f00';

/** To the console, not to ttyS0: a getty that starts there hangs up on everybody who has the line open. */
const USER_DATA = `#cloud-config
bootcmd:
- 'echo "NVRAM has $([ -e ${VARIABLE} ] && cat ${VARIABLE} | tail -c 4 || echo nothing)" > /dev/console'
- '[ -e ${VARIABLE} ] || printf "\\007\\000\\000\\000kept" > ${VARIABLE}'
runcmd:
# A reset that follows at once finds on the disk what cloud-init has made.
- sync
- 'echo "SEEDED $(hostname) $(ls /sys/firmware | grep efi)" > /dev/console'
`;

/** What each boot has said; the firmware begins it, as the kernel is quiet. */
const sayings = (log: string): string[] => log.split('BdsDxe: starting ').slice(1);
/** Whether the boot of this number is through, and found this in the NVRAM. */
const isUp =
  (boot: number, nvram: string) =>
  (log: string): boolean => {
    const said = sayings(log)[boot - 1] ?? '';
    // The line above the login's, which has no end.
    return said.includes(`NVRAM has ${nvram}`) && /Debian GNU\/Linux \S+ \S+ ttyS0/.test(said);
  };

test('boots by UEFI, is set up by its Secret, answers by its agent, reboots, shuts down, and keeps its NVRAM', async () => {
  await bed.kubectl('create', 'secret', 'generic', NAME, `--from-literal=userdata=${USER_DATA}`);
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
  await bed.untilLog(NAME, 'is up', isUp(1, 'nothing'), BOOT);

  await bed.operate(operation('reset', NAME, 'Reset'));
  await bed.untilLog(NAME, 'boots again, in the same pod', isUp(2, 'kept'), BOOT);
  await bed.untilCondition(NAME, 'GuestReady', 'True Agent', BOOT);
  expect((await bed.vm(NAME)).status?.launcher?.incarnation).toBe(1);

  const stop = await bed.operate(operation('stop', NAME, 'Stop'), { timeout: 240_000 });
  expect(stop.status?.phase).toBe('Succeeded');
  const off = await bed.untilCondition(NAME, 'Ready', 'True StoppedByOperation');
  expect(off.status?.lastRun).toMatchObject({
    result: 'Stopped',
    message: 'the guest powered itself off when it was asked to',
  });

  // The next pod has a new disk of the image, and the NVRAM that is in the state claim.
  const start = await bed.operate(operation('start', NAME, 'Start'), { timeout: 240_000 });
  expect(start.status?.phase).toBe('Succeeded');
  await bed.untilLog(NAME, 'starts with its NVRAM', isUp(3, 'kept'), BOOT);
  await bed.untilCondition(NAME, 'GuestReady', 'True Agent', BOOT);
  expect(await bed.diff(manifest)).toBe('');
  // It has shut down once; what is left need not take that long.
  await bed.operate(operation('off', NAME, 'Stop', { force: true }));
});
