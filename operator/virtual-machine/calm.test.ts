import { describe, expect, it } from 'vitest';
import type { VirtualMachineStatus } from '../../crds/virtual-machine.ts';
import { mayWait } from './calm.ts';

const condition = (type: string, status: 'True' | 'False' | 'Unknown', reason: string) => ({
  type,
  status,
  reason,
  message: `${type} ${reason}`,
  lastTransitionTime: '2026-01-01T00:00:00Z',
  observedGeneration: 1,
});

const starting: VirtualMachineStatus = {
  observedGeneration: 1,
  phase: 'Scheduling',
  launcher: { podName: 'vm-web-1', podUID: 'u1', incarnation: 1 },
  conditions: [condition('Running', 'False', 'Scheduling'), condition('GuestReady', 'False', 'NotRunning')],
};
const running: VirtualMachineStatus = {
  ...starting,
  phase: 'Running',
  conditions: [condition('Running', 'True', 'Running'), condition('GuestReady', 'False', 'NoSignal')],
};

describe('mayWait', () => {
  it('lets the steps of a start wait: the node, the pod, the launcher’s call', () => {
    const next: VirtualMachineStatus = {
      ...starting,
      phase: 'Starting',
      launcher: { podName: 'vm-web-1', podUID: 'u1', incarnation: 1, node: 'worker-1' },
      conditions: [
        condition('Running', 'False', 'LauncherStarting'),
        condition('GuestReady', 'False', 'NotRunning'),
        condition('ControlReachable', 'True', 'Connected'),
      ],
    };
    expect(mayWait(starting, next)).toBe(true);
  });

  it('lets addresses and versions of a running VM wait', () => {
    const ips = [{ name: 'default', mac: '02:00:00:00:00:01', ips: ['10.0.0.1'] }];
    expect(mayWait(running, { ...running, interfaces: ips })).toBe(true);
  });

  it.each<[string, VirtualMachineStatus | undefined, VirtualMachineStatus]>([
    ['the first status', undefined, starting],
    ['that it runs', starting, running],
    [
      'that the guest is up',
      running,
      {
        ...running,
        conditions: [condition('Running', 'True', 'Running'), condition('GuestReady', 'True', 'Signal')],
      },
    ],
    [
      'why it does not run any more',
      { ...running, phase: 'Paused', conditions: [condition('Running', 'False', 'Paused')] },
      { ...running, phase: 'Paused', conditions: [condition('Running', 'False', 'DiskFull')] },
    ],
    ['another life', running, { ...running, launcher: { podUID: 'u2', incarnation: 2 } }],
    ['a spec that was read', running, { ...running, observedGeneration: 2 }],
  ])('tells at once: %s', (_, before, after) => {
    expect(mayWait(before, after)).toBe(false);
  });
});
