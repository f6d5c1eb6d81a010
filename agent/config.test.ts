import { describe, expect, it } from 'vitest';
import { readConfig } from './config.ts';

describe('the configuration', () => {
  it('needs the node alone', () => {
    expect(readConfig({ NODE_NAME: 'worker-1' })).toEqual({
      nodeName: 'worker-1',
      logLevel: 'info',
      port: 9096,
      slots: 1000,
      minimumInstructionsPerSecond: 400_000_000,
      proofInterval: 600,
      pluginDirectory: '/var/lib/kubelet/device-plugins',
      stateDirectory: '/var/lib/vmstead',
    });
  });

  it("takes a node's own threshold before the general one", () => {
    const env = { VMSTEAD_KVM_MINIMUM: '7', VMSTEAD_KVM_MINIMUM_BY_NODE: '{"worker-2": 1000000}' };
    expect(readConfig({ ...env, NODE_NAME: 'worker-1' }).minimumInstructionsPerSecond).toBe(7);
    expect(readConfig({ ...env, NODE_NAME: 'worker-2' }).minimumInstructionsPerSecond).toBe(1_000_000);
  });

  it.each([
    [{ NODE_NAME: '' }, 'NODE_NAME is not set'],
    [{ VMSTEAD_LOG_LEVEL: 'loud' }, 'VMSTEAD_LOG_LEVEL is "loud": it must be debug, info, warn or error'],
    [{ VMSTEAD_KVM_SLOTS: '0' }, 'VMSTEAD_KVM_SLOTS is "0": it must be a whole number of at least 1'],
    [{ VMSTEAD_KVM_MINIMUM: '4e8x' }, 'VMSTEAD_KVM_MINIMUM is "4e8x"'],
    [{ VMSTEAD_KVM_MINIMUM_BY_NODE: '{' }, 'VMSTEAD_KVM_MINIMUM_BY_NODE is no JSON'],
    [{ VMSTEAD_KVM_MINIMUM_BY_NODE: '{"worker-1":"x"}' }, 'VMSTEAD_KVM_MINIMUM_BY_NODE is "x"'],
  ])('%j is refused in words', (env, message) => {
    expect(() => readConfig({ NODE_NAME: 'worker-1', ...env })).toThrow(message);
  });
});
