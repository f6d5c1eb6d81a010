/** Builders for tests: a valid object with nothing in it that the test does not speak of. */
import { LABEL } from '../../crds/api.ts';
import { type VirtualMachine, virtualMachineSpec } from '../../crds/virtual-machine.ts';
import type { Pod } from '../kube/resources.ts';
import type { World } from './world.ts';

export const NOW = Date.parse('2026-01-01T12:00:00Z');

export function aVm(spec: Record<string, unknown> = {}, status?: VirtualMachine['status']): VirtualMachine {
  const kernel = { image: 'guest', path: '/boot/vmlinuz' };
  return {
    apiVersion: 'vmstead.io/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'default', uid: 'vm-uid', generation: 1, labels: { app: 'web' } },
    spec: virtualMachineSpec.parse({ memory: { size: '256Mi' }, kernel, ...spec }),
    ...(status ? { status } : {}),
  };
}

export function aPod(incarnation: number, change: Partial<Pod> = {}): Pod {
  return {
    ...change,
    metadata: {
      name: `vm-web-${incarnation}`,
      namespace: 'default',
      uid: `pod-${incarnation}`,
      resourceVersion: '1',
      labels: { [LABEL.vm]: 'web', [LABEL.incarnation]: String(incarnation) },
      finalizers: ['vmstead.io/launcher'],
      ownerReferences: [
        {
          apiVersion: 'vmstead.io/v1alpha1',
          kind: 'VirtualMachine',
          name: 'web',
          uid: 'vm-uid',
          controller: true,
        },
      ],
      ...change.metadata,
    },
  };
}

/** Status of a pod whose launcher ended with a word of its own. */
export function ended(result: string, seconds = 60): NonNullable<Pod['status']> {
  const finishedAt = new Date(NOW - 1000).toISOString();
  return terminated({
    exitCode: 0,
    startedAt: new Date(NOW - 1000 - seconds * 1000).toISOString(),
    finishedAt,
    message: JSON.stringify({ result, message: `It was ${result}.`, at: finishedAt }),
  });
}

export function terminated(state: {
  exitCode: number;
  reason?: string;
  message?: string;
  startedAt?: string;
  finishedAt?: string;
}) {
  return { phase: 'Failed', containerStatuses: [container({ terminated: state })] };
}

export function container(
  state: NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number]['state'] & {},
) {
  return { name: 'launcher', image: '', imageID: '', ready: false, restartCount: 0, state };
}

export function aWorld(change: Partial<World> = {}): World {
  return {
    now: NOW,
    listeningSince: NOW - 3_600_000,
    namespace: 'default',
    name: 'web',
    vm: aVm(),
    pods: [],
    claims: new Map(),
    images: new Map(),
    imageClaims: new Map(),
    cloning: { drivers: new Map(), provisioners: new Map(), failures: new Map() },
    leases: new Map(),
    ownLeases: [],
    snapshots: [],
    restores: [],
    orphanLeases: new Set(),
    podlessHolders: new Set(),
    nodes: [],
    expandableClasses: new Set(),
    silentNodes: new Map(),
    operations: [],
    contacts: new Map(),
    attachments: [],
    exporters: new Map(),
    attachmentWarnings: [],
    warnings: [],
    defaults: {
      launcherImage: 'vmstead/launcher:1',
      launcherImagePullPolicy: 'IfNotPresent',
      defaultMachineType: 'pc-q35-10.0',
      channel: undefined,
    },
    ...change,
  };
}
