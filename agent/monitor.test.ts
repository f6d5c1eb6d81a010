import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { kernel, type Verdict, writeProof } from './kvm/proof.ts';
import { createLog } from './log.ts';
import { monitorKvm } from './monitor.ts';

it('follows the prover and the kernel: unproved, usable, gone', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'vmstead-monitor-'));
  const kernelDevice = join(directory, 'kvm');
  const proofPath = join(directory, 'proof', 'kvm.json');
  await mkdir(kernelDevice);
  const verdicts: Verdict[] = [];
  const lines: string[] = [];
  const stop = new AbortController();
  const running = monitorKvm(
    {
      proofPath,
      kernelDevice,
      minimumInstructionsPerSecond: 1000,
      proofInterval: 600,
      lookInterval: 10,
      log: createLog('test', 'info', (line) => lines.push(line) > 0),
    },
    (verdict) => verdicts.push(verdict),
    stop.signal,
  );
  const seen = async (count: number) => {
    for (const end = Date.now() + 5000; verdicts.length < count; await sleep(5)) {
      if (Date.now() > end) throw new Error(`${verdicts.length} verdicts, ${count} wanted`);
    }
    return verdicts[count - 1];
  };

  expect(await seen(1)).toMatchObject({
    usable: false,
    reason: 'KVM has not been proved since the node started',
  });
  await writeProof(proofPath, { ...(await kernel()), instructionsPerSecond: 5000 });
  expect(await seen(2)).toMatchObject({ usable: true, instructionsPerSecond: 5000 });
  await rm(kernelDevice, { recursive: true });
  expect(await seen(3)).toMatchObject({ usable: false, instructionsPerSecond: 0 });
  await sleep(50);
  stop.abort();
  await running;
  // What did not change is not said again.
  expect(verdicts).toHaveLength(3);
  expect(lines.map((line) => JSON.parse(line).level)).toEqual(['warn', 'info', 'warn']);
  expect(JSON.parse(lines[2]!).message).toContain('the kernel has no KVM: its module is not loaded');
  await rm(directory, { recursive: true });
});
