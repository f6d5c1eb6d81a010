import { describe, expect, it } from 'vitest';
import { aPod, container, ended, NOW, terminated } from '../virtual-machine/testing.ts';
import { endOfRun } from './proof-of-end.ts';

const node = (taints: { key: string; effect: string }[] = []) => ({
  metadata: { name: 'worker-1', uid: 'n', resourceVersion: '1' },
  spec: { taints },
});
const placed = { containers: [], nodeName: 'worker-1' };
const deleted = { ...aPod(1).metadata, deletionTimestamp: '2026-01-01T11:59:59Z' };
const lost = { exitCode: 137, reason: 'ContainerStatusUnknown' };

describe('proof of end', () => {
  it.each([
    [
      'a running container',
      { spec: placed, status: { phase: 'Running', containerStatuses: [container({ running: {} })] } },
    ],
    [
      'a pod that PodGC called Failed',
      { spec: placed, status: { phase: 'Failed', containerStatuses: [container({ running: {} })] } },
    ],
    ['a deleted pod of a silent node', { metadata: deleted, spec: placed, status: { phase: 'Running' } }],
    ['a pod that waits for a node', { status: { phase: 'Pending' } }],
    [
      'a pod whose container waits',
      { spec: placed, status: { phase: 'Pending', containerStatuses: [container({ waiting: {} })] } },
    ],
  ])('is not %s', (_, change) => {
    expect(endOfRun(aPod(1, change), node(), NOW)).toBeUndefined();
  });

  it.each([
    ['the launcher’s own word', { spec: placed, status: ended('GuestPanic') }, 'GuestPanic'],
    ['a pod deleted before it had a node', { metadata: deleted }, 'NeverStarted'],
    [
      'a pod that the kubelet rejected',
      { spec: placed, status: { phase: 'Failed', message: 'Pod was rejected: no room' } },
      'Rejected',
    ],
    [
      'memory that ran out',
      { spec: placed, status: terminated({ exitCode: 137, reason: 'OOMKilled' }) },
      'OutOfMemory',
    ],
    [
      'a node that was restarted',
      { spec: placed, status: { ...terminated(lost), startTime: '2026-01-01T11:00:00Z' } },
      'NodeRestarted',
    ],
    [
      'a container that never was',
      { metadata: deleted, spec: placed, status: terminated(lost) },
      'NeverStarted',
    ],
    // It had an address, so that its guest may have run: a VM that runs once has run.
    [
      'a deleted pod whose container was lost',
      { metadata: deleted, spec: placed, status: { ...terminated(lost), podIP: '10.0.0.1' } },
      'StoppedForced',
    ],
    [
      'a pod deleted without waiting',
      { metadata: deleted, spec: placed, status: terminated({ exitCode: 137 }) },
      'StoppedForced',
    ],
    ['a launcher that says nothing', { spec: placed, status: terminated({ exitCode: 1 }) }, 'LauncherFailed'],
  ])('is %s', (_, change, result) => {
    expect(endOfRun(aPod(1, change), node(), NOW)?.result).toBe(result);
  });

  it('is a fence, but not what Kubernetes itself writes about a node', () => {
    const pod = aPod(1, { spec: placed, status: { phase: 'Running' } });
    for (const key of ['unreachable', 'not-ready', 'unschedulable']) {
      const taint = { key: `node.kubernetes.io/${key}`, effect: 'NoExecute' };
      expect(endOfRun(pod, node([taint]), NOW), key).toBeUndefined();
    }
    const taints = [{ key: 'node.kubernetes.io/out-of-service', effect: 'NoExecute' }];
    expect(endOfRun(pod, node(taints), NOW)?.result).toBe('Fenced');
  });
});
