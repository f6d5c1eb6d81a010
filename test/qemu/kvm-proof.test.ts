/** The proving guest on the real QEMU of the agent's image. */
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Measurement } from '../../agent/kvm/measure.ts';
import { bundle } from '../../images/bundle.ts';
import { docker } from '../../images/docker.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vmstead-proof-test-'));
  // The container's user is another one.
  await chmod(directory, 0o755);
  await writeFile(join(directory, 'measure.cjs'), (await bundle('agent/kvm/measure.ts')).code);
});
afterAll(() => rm(directory, { recursive: true }));

/** Measures in a container, as the prover does, and returns the figures or the error's words. */
async function measure(accelerator: 'kvm' | 'tcg', ...options: string[]): Promise<Measurement | string> {
  const script = `
    require('/proof/measure.cjs').measure({ accelerator: '${accelerator}' })
      .then((result) => console.log(JSON.stringify(result)), (error) => console.log(JSON.stringify(error.message)))`;
  const container = ['run', '--rm', '--network=none', '--volume', `${directory}:/proof:ro`, ...options];
  return JSON.parse(await docker([...container, 'vmstead/qemu:dev', 'node', '-e', script]));
}

test('the guest reaches long mode and works, within a second of work', async () => {
  const result = (await measure('tcg')) as Measurement;
  // Emulation does hundreds of millions a second on an idle machine; one round would be 32768.
  expect(result.instructions).toBeGreaterThan(10_000_000);
  expect(result.milliseconds).toBeLessThan(1500);
  expect(result.instructionsPerSecond).toBeGreaterThan(10_000_000);
});

test('without a device there is no figure, but the reason in QEMU’s words', async () => {
  expect(await measure('kvm')).toContain('Could not access KVM kernel module');
});

test.runIf(existsSync('/dev/kvm'))('KVM is measured, however slow, in bounded time', async () => {
  const result = (await measure('kvm', '--device=/dev/kvm', '--user=0')) as Measurement;
  expect(result.instructionsPerSecond).toBeGreaterThan(100_000);
  expect(result.milliseconds).toBeLessThan(1500);
});
