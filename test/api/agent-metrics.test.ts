import { spawn } from 'node:child_process';
import { expect, it } from 'vitest';
import { renderMetrics } from '../../agent/metrics.ts';
import { binary } from '../../setup/paths.ts';

it('promtool finds nothing wrong with the agent’s metrics', async () => {
  const text = renderMetrics({
    usable: true,
    instructionsPerSecond: 3e9,
    minimumInstructionsPerSecond: 4e8,
    registered: true,
    registrations: 2,
    slots: 1000,
    version: '0.1.0',
  });
  expect(text).toContain('\nvmstead_agent_kvm_usable 1\n');
  expect(text).toContain('\nvmstead_agent_kvm_instructions_per_second 3000000000\n');
  const child = spawn(binary('promtool', 'promtool'), ['check', 'metrics'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let words = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (words += data));
  child.stdin.end(text);
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect({ code, words }).toEqual({ code: 0, words: '' });
});
