import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { CoreEvent, Node, Pod } from '../kube/resources.ts';
import { refusalOf, waitOf } from './waiting.ts';

/** Words that the tests' cluster has no way to bring about; the others are in test/e2e/waits.test.ts. */

const pod = (more: object = {}, spec: object = { nodeName: 'worker-1' }): Pod =>
  ({ metadata: { name: 'vm-web-1', uid: 'u', resourceVersion: '1' }, spec, status: {}, ...more }) as Pod;

const warning = (reason: string, message: string, at = '2026-01-01T00:00:00Z'): CoreEvent =>
  ({ type: 'Warning', reason, message, lastTimestamp: at, metadata: { name: 'e' } }) as unknown as CoreEvent;

const kvmNode = {
  metadata: { name: 'worker-1' },
  status: { allocatable: { 'vmstead.io/kvm': '1' } },
} as unknown as Node;

describe('a pod that waits', () => {
  test('for a volume that another node still has', () => {
    const said = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other';
    expect(waitOf(pod(), [], [warning('FailedAttachVolume', said)])).toEqual({
      reason: 'MultiAttach',
      message: `A volume is still attached to another node, which must let it go before worker-1 gets it: ${said}`,
    });
  });

  test('for an attachment, a mount, a ConfigMap', () => {
    expect(waitOf(pod(), [], [warning('FailedAttachVolume', 'timed out')])).toEqual({
      reason: 'VolumeNotAttached',
      message: 'Node worker-1: timed out',
    });
    expect(waitOf(pod(), [], [warning('FailedMount', 'no such device')])).toEqual({
      reason: 'VolumeNotMounted',
      message: 'Node worker-1: no such device',
    });
    expect(
      waitOf(pod(), [], [warning('FailedMount', 'MountVolume.SetUp failed: configmap "c" not found')]),
    ).toEqual({
      reason: 'ConfigMapNotFound',
      message: 'ConfigMap c does not exist in this namespace; create it, and the VM goes on by itself.',
    });
  });

  test('for the newest of its troubles', () => {
    const events = [
      warning('FailedMount', 'new', '2026-01-01T00:00:02Z'),
      warning('FailedMount', 'old', '2026-01-01T00:00:01Z'),
    ];
    expect(waitOf(pod(), [], events).message).toBe('Node worker-1: new');
  });

  test('for KVM on nodes that are full of VMs, and not for emulation', () => {
    const wants = {
      containers: [{ resources: { requests: { 'vmstead.io/kvm': '1' } } }],
    };
    const said = '0/2 nodes are available: 1 Insufficient vmstead.io/kvm.';
    const status = {
      conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: said }],
    };
    expect(waitOf(pod({ status }, wants), [kvmNode], [])).toEqual({
      reason: 'KVMNodesFull',
      message: `The nodes with KVM have no room; the VM waits rather than being emulated. Scheduler: ${said}`,
    });
  });

  test('for a container that the node refuses', () => {
    const containerStatuses = [
      { name: 'launcher', state: { waiting: { reason: 'CreateContainerError', message: 'no runtime' } } },
    ];
    expect(waitOf(pod({ status: { containerStatuses } }), [], [])).toEqual({
      reason: 'ContainerRefused',
      message: 'Node worker-1 cannot start the launcher: no runtime',
    });
  });
});

describe('a pod that the API server refuses', () => {
  test.for([
    [
      'violates PodSecurity "restricted:latest": unrestricted capabilities',
      'PodSecurityRefused',
      'Pod Security refuses the launcher pod, though it is within "restricted"; see the labels of namespace vms: ',
    ],
    ['admission plugin said no', 'PodRefused', 'The API server refuses the launcher pod (Forbidden): '],
  ] as const)('%s: %s', ([said, reason, before]) => {
    expect(refusalOf('Forbidden', said, 'vms')).toEqual({ reason, message: `${before}${said}` });
  });
});

test('docs/conditions.md tells of every reason that a wait can have', () => {
  const sources = ['waiting.ts', 'start.ts', 'claims.ts', 'stage.ts', 'plan.ts'];
  const code = sources.map((file) => readFileSync(new URL(file, import.meta.url), 'utf8')).join('\n');
  const page = readFileSync(new URL('../../docs/conditions.md', import.meta.url), 'utf8');
  const reasons = [...code.matchAll(/reason: '([A-Z]\w+)'/g)].map(([, reason]) => reason);
  expect(reasons.length).toBeGreaterThan(20);
  expect(reasons.filter((reason) => reason !== 'Wanted' && !page.includes(`\`${reason}\``))).toEqual([]);
});
