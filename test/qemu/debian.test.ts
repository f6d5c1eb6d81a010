/** An installed Debian from an image: firmware, boot loader, cloud-init, guest agent, and a clean shutdown. */
import { expect, test } from 'vitest';
import { buildFullGuest } from '../../images/guests/build.ts';
import { cacheDirectory } from '../../setup/paths.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

test('boots, is set up, answers by its agent, and shuts down', { timeout: 300_000 }, async () => {
  const { disk } = await buildFullGuest(cacheDirectory);
  const overlay = { path: '/var/lib/vmstead/root.qcow2', maxBytes: 1024 * 1024 * 1024 };
  const { kernel: _, ...withoutKernel } = machine();
  const description = {
    ...withoutKernel,
    memoryMiB: 768,
    terminationGracePeriodSeconds: 120,
    disks: [
      {
        ...fileDisk('root'),
        bootIndex: 1,
        backend: { type: 'image', directory: '/image', overlay } as const,
      },
    ],
    cloudInit: {
      instanceId: 'i-1',
      hostname: 'seeded',
      // Not ttyS0: a getty that starts there hangs up on everybody who has the line open.
      userData: { inline: '#cloud-config\nruncmd:\n- echo "SEEDED $(hostname)" >/dev/console\n' },
    },
  };
  await using launcher = await Launcher.start(description, {
    guest: await tinyGuest(),
    docker: [`--volume=${disk}:/image/disk/disk.qcow2:ro`],
  });
  await expect
    .poll(() => launcher.life(), { timeout: 200_000, interval: 1000 })
    .toMatchObject({ guestReady: 'Agent' });
  await launcher.guestSays(/SEEDED seeded/, 1, 200);
  expect(await launcher.stop(120)).toMatchObject({ exitCode: 0, message: { result: 'Stopped' } });
});
