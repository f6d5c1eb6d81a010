import { describe, expect, it } from 'vitest';
import type { VirtualMachineStatus } from '../../crds/virtual-machine.ts';
import { planVirtualMachine } from './plan.ts';
import { statusOf } from './status.ts';
import { aPod, aVm, aWorld, container, ended, NOW, terminated } from './testing.ts';
import type { World } from './world.ts';

const actionsOf = (world: World): string[] => {
  const plan = planVirtualMachine(world);
  return [...plan.actions, ...plan.afterStatus].map((action) => action.type);
};

const statusIn = (world: World): VirtualMachineStatus => {
  const { decision } = planVirtualMachine(world);
  if (!decision) throw new Error('no decision');
  return statusOf(world, decision, undefined);
};

const conditionIn = (world: World, type: string) => {
  const found = statusIn(world).conditions?.find((each) => each.type === type);
  return found && `${found.status} ${found.reason}`;
};

const running = (pod = aPod(1)) => ({
  ...pod,
  spec: { containers: [], nodeName: 'worker-1' },
  status: {
    phase: 'Running',
    containerStatuses: [container({ running: { startedAt: new Date(NOW - 60_000).toISOString() } })],
  },
});
const readyNode = {
  metadata: { name: 'worker-1', uid: 'n', resourceVersion: '1' },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
};
const silentNode = {
  ...readyNode,
  status: { conditions: [{ type: 'Ready', status: 'Unknown', lastTransitionTime: '2026-01-01T11:59:00Z' }] },
};
const contact = (state: 'Running' | 'Paused' | 'IoError', more: object = {}) =>
  new Map([
    [
      'pod-1',
      {
        connected: true,
        lastHeardAt: NOW - 1000,
        launcherVersion: '1',
        features: ['live'],
        results: new Map(),
        report: { state, ...more },
      },
    ],
  ]);

describe('a new VM', () => {
  it('gets its pod at once when it needs no claim', () => {
    expect(actionsOf(aWorld())).toEqual(['CreatePod']);
  });

  it('gets its claims first, then the leases of them, then the pod', () => {
    const vm = aVm({ disks: [{ name: 'root', source: { blank: {} }, claim: { size: '1Gi' } }] });
    const world = aWorld({ vm });
    expect(actionsOf(world)).toEqual(['CreateClaim']);
    const [create] = planVirtualMachine(world).actions;
    if (create?.type !== 'CreateClaim') throw new Error('no claim');
    const claim = {
      ...create.claim,
      metadata: { ...create.claim.metadata, name: 'web-root', uid: 'c', resourceVersion: '1' },
    };
    expect(actionsOf(aWorld({ vm, claims: new Map([['web-root', claim as never]]) }))).toEqual([
      'TakeLease',
      'CreatePod',
    ]);
  });

  it('refuses a claim of that name that was not made for it', () => {
    const vm = aVm({ disks: [{ name: 'root', source: { blank: {} }, claim: { size: '1Gi' } }] });
    const claim = { metadata: { name: 'web-root', uid: 'c', resourceVersion: '1' } };
    const world = aWorld({ vm, claims: new Map([['web-root', claim]]) });
    expect(actionsOf(world)).toEqual([]);
    expect(conditionIn(world, 'DisksReady')).toBe('False ClaimNotOurs');
    expect(conditionIn(world, 'Stalled')).toBe('True ClaimNotOurs');
  });
});

describe('the number of the next life', () => {
  const vm = aVm({ disks: [{ name: 'root', source: { claim: { name: 'c' } } }] });
  const claim = { metadata: { name: 'c', namespace: 'default', uid: 'c-uid', resourceVersion: '1' } };
  const lease = (holder: string) => ({
    metadata: {
      name: 'vmstead-claim-c-uid',
      namespace: 'default',
      uid: 'l',
      resourceVersion: '7',
      labels: { 'vmstead.io/vm': 'web' },
    },
    spec: { holderIdentity: holder, acquireTime: new Date(NOW - 5000).toISOString() },
  });
  const created = (world: World) =>
    planVirtualMachine(world).actions.flatMap((each) =>
      each.type === 'CreatePod' ? [each.pod.metadata.name] : [],
    );

  it('is that of a start which an operator began and did not live to finish', () => {
    const begun = lease('vm-web-3');
    const world = aWorld({
      vm,
      claims: new Map([['c', claim]]),
      leases: new Map([['c-uid', begun]]),
      ownLeases: [begun],
    });
    expect(actionsOf(world)).toEqual(['CreatePod']);
    expect(created(world)).toEqual(['vm-web-3']);
  });

  it('comes after all that anything still knows of: a pod, a lease, the status', () => {
    expect(created(aWorld({ pods: [aPod(4, { status: ended('Stopped') })] }))).toEqual(['vm-web-5']);
    const lastRun = { incarnation: 6, podUID: 'p', result: 'Stopped', message: '', finishedAt: '' };
    expect(created(aWorld({ vm: aVm({}, { lastRun }) }))).toEqual(['vm-web-7']);
    const old = lease('vm-web-8');
    const gone = aWorld({
      vm: { ...vm, status: { lastRun: { ...lastRun, incarnation: 8 } } },
      claims: new Map([['c', claim]]),
      leases: new Map([['c-uid', { ...old, spec: { ...old.spec, acquireTime: '2026-01-01T11:00:00Z' } }]]),
      ownLeases: [old],
      orphanLeases: new Set([old.metadata.name]),
    });
    expect(created(gone)).toEqual(['vm-web-9']);
  });
});

describe('a claim whose lease is another VM’s, which has no pod', () => {
  const vm = aVm({ disks: [{ name: 'root', source: { claim: { name: 'c' } } }] });
  const claim = { metadata: { name: 'c', namespace: 'default', uid: 'c-uid', resourceVersion: '1' } };
  const worldAt = (seconds: number, orphan: boolean) => {
    const lease = {
      metadata: {
        name: 'vmstead-claim-c-uid',
        namespace: 'default',
        uid: 'l',
        resourceVersion: '7',
        labels: { 'vmstead.io/vm': 'other' },
      },
      spec: { holderIdentity: 'vm-other-1', acquireTime: new Date(NOW - seconds * 1000).toISOString() },
    };
    return aWorld({
      vm,
      claims: new Map([['c', claim]]),
      leases: new Map([['c-uid', lease]]),
      orphanLeases: new Set(orphan ? [lease.metadata.name] : []),
    });
  };

  // An operator that still thinks it leads may be about to create that pod.
  it('is waited for while that pod may still come', () => {
    expect(actionsOf(worldAt(119, true))).toEqual([]);
    expect(conditionIn(worldAt(119, true), 'Ready')).toBe('False ClaimInUse');
  });

  it('of a VM that is gone is given back, when that pod cannot come any more', () => {
    const gone = (seconds: number) => {
      const world = worldAt(seconds, seconds > 120);
      return planVirtualMachine({ ...world, vm: undefined, ownLeases: [...world.leases.values()] });
    };
    const early = gone(20);
    expect([early.afterStatus, early.after]).toEqual([[], 100_000]);
    expect(gone(121).afterStatus.map((each) => each.type)).toEqual(['ReleaseLease']);
  });

  it('is taken when it cannot come any more, but only on the API server’s own word that it is not there', () => {
    expect(actionsOf(worldAt(3600, false))).toEqual([]);
    expect(actionsOf(worldAt(121, true))).toEqual(['TakeLease', 'CreatePod']);
  });
});

describe('a run of an earlier VM of the same name', () => {
  const earlier = running();
  const pod = {
    ...earlier,
    metadata: {
      ...earlier.metadata,
      ownerReferences: [{ ...earlier.metadata.ownerReferences![0]!, uid: 'another-uid' }],
    },
  };

  it('is ended, and waited for', () => {
    const world = aWorld({ pods: [pod], nodes: [readyNode], contacts: contact('Running') });
    expect(actionsOf(world)).toEqual(['DeletePod']);
    expect(conditionIn(world, 'Ready')).toBe('False EarlierVirtualMachine');
  });
});

describe('a run that is over', () => {
  const rows: [strategy: string, result: string, starts: boolean][] = [
    ['Always', 'GuestPowerOff', true],
    ['Always', 'GuestPanic', true],
    ['Always', 'Stopped', true],
    ['RerunOnFailure', 'GuestPowerOff', false],
    ['RerunOnFailure', 'GuestPanic', true],
    ['RerunOnFailure', 'QemuKilled', true],
    ['RerunOnFailure', 'Stopped', true],
    ['Once', 'GuestPowerOff', false],
    ['Once', 'GuestPanic', false],
    ['Once', 'Stopped', false],
    ['Manual', 'GuestPowerOff', false],
    ['Manual', 'QemuKilled', false],
    ['Halted', 'GuestPanic', false],
  ];
  for (const [runStrategy, result, starts] of rows) {
    it(`${runStrategy}: ${result} ${starts ? 'starts it again' : 'leaves it off'}`, () => {
      const power = { state: 'Running' as const, runStrategy: runStrategy as 'Always', afterIncarnation: 0 };
      const world = aWorld({
        vm: aVm({ runStrategy }, { power }),
        pods: [aPod(1, { status: ended(result) })],
      });
      expect(actionsOf(world).includes('CreatePod')).toBe(starts);
    });
  }

  it('stays as the record of how it ended while the VM stays off, also when the status is lost', () => {
    const world = aWorld({
      vm: aVm({ runStrategy: 'Once' }),
      pods: [aPod(1, { status: ended('GuestPowerOff') })],
    });
    expect(actionsOf(world)).toEqual([]);
    expect(statusIn(world)).toMatchObject({
      phase: 'Succeeded',
      lastRun: { incarnation: 1, result: 'GuestPowerOff' },
    });
    expect(conditionIn(world, 'Ready')).toBe('True Finished');
  });

  it('is erased only after the status that records it', () => {
    const metadata = { ...aPod(1).metadata, deletionTimestamp: '2026-01-01T11:59:59Z' };
    const pods = [aPod(1, { metadata, status: ended('GuestPowerOff') })];
    const plan = planVirtualMachine(aWorld({ pods }));
    expect(plan.actions.map((each) => each.type)).toEqual(['CreatePod']);
    expect(plan.afterStatus.map((each) => each.type)).toEqual(['DropFinalizer']);
  });

  it('is kept beside the next one for its logs, until that one is over too', () => {
    const pods = [aPod(1, { status: ended('GuestPanic') })];
    const first = planVirtualMachine(aWorld({ pods }));
    expect([...first.actions, ...first.afterStatus].map((each) => each.type)).toEqual(['CreatePod']);
    const beside = aWorld({ pods: [...pods, running(aPod(2))], nodes: [readyNode] });
    expect(actionsOf(beside)).toEqual([]);
    const both = aWorld({ pods: [...pods, aPod(2, { status: ended('GuestPanic') })] });
    const { afterStatus } = planVirtualMachine(both);
    expect(
      afterStatus.map((each) => ('pod' in each ? `${each.type} ${each.pod.metadata.name}` : '')),
    ).toEqual(['DeletePod vm-web-1', 'DropFinalizer vm-web-1']);
  });

  it('that failed twice waits, longer each time', () => {
    const previous = {
      incarnation: 1,
      podUID: 'pod-1',
      result: 'QemuKilled',
      message: '',
      finishedAt: '2026-01-01T11:00:00Z',
    };
    const crashLoop = { failures: 1, retryAt: '2026-01-01T11:00:00Z' };
    const world = aWorld({
      vm: aVm({}, { lastRun: previous, crashLoop }),
      pods: [aPod(2, { status: ended('QemuKilled') })],
    });
    expect(actionsOf(world)).not.toContain('CreatePod');
    expect(statusIn(world)).toMatchObject({
      phase: 'CrashLoopBackOff',
      crashLoop: { failures: 2, retryAt: new Date(NOW - 1000 + 10_000).toISOString() },
    });
    expect(planVirtualMachine(world).after).toBe(9000);
  });
});

describe('a run of which nobody can say that it is over', () => {
  const dead = { phase: 'Failed', containerStatuses: [container({ running: {} })] };
  it.each([
    [
      'a pod that PodGC called Failed',
      aPod(1, { spec: { containers: [], nodeName: 'worker-1' }, status: dead }),
    ],
    [
      'a pod that was force-deleted',
      aPod(1, {
        metadata: {
          ...aPod(1).metadata,
          deletionTimestamp: '2026-01-01T11:59:59Z',
          deletionGracePeriodSeconds: 0,
        },
        spec: { containers: [], nodeName: 'worker-1' },
        status: dead,
      }),
    ],
  ])('%s is neither let go nor followed by another', (_, pod) => {
    expect(actionsOf(aWorld({ pods: [pod] }))).toEqual([]);
  });

  it('a silent node: Unknown, and the way out for a person', () => {
    const world = aWorld({ pods: [running()], nodes: [silentNode] });
    expect(conditionIn(world, 'Running')).toBe('Unknown NodeSilent');
    expect(conditionIn(world, 'Ready')).toBe('Unknown NodeSilent');
    expect(statusIn(world).conditions?.find((each) => each.type === 'Running')?.message).toBe(
      'Node worker-1 has been silent since 2026-01-01T11:59:00Z: nobody can tell whether the VM runs, and it is not started elsewhere. If you are certain that the node is off: kubectl taint nodes worker-1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute',
    );
  });

  it('a node whose kubelet no longer renews its lease is silent before its Ready condition says so', () => {
    const silentNodes = new Map([['worker-1', '2026-01-01T11:59:20Z']]);
    const world = aWorld({ pods: [running()], nodes: [readyNode], silentNodes });
    expect([conditionIn(world, 'Running'), conditionIn(world, 'Ready')]).toEqual([
      'Unknown NodeSilent',
      'Unknown NodeSilent',
    ]);
    expect(statusIn(world).conditions?.find((each) => each.type === 'Running')?.message).toMatch(
      /^Node worker-1 has been silent since 2026-01-01T11:59:20Z: nobody can tell/,
    );
    // Nobody tells us when the lease is renewed.
    expect(planVirtualMachine(world).after).toBe(10_000);
    const heard = aWorld({
      pods: [running()],
      nodes: [readyNode],
      silentNodes,
      contacts: contact('Running'),
    });
    expect(conditionIn(heard, 'Running')).toBe('True Running');
  });

  it('a silent node whose launcher is heard all the same runs', () => {
    const world = aWorld({ pods: [running()], nodes: [silentNode], contacts: contact('Running') });
    expect(conditionIn(world, 'Running')).toBe('True Running');
  });

  it('a kubelet that refuses a pod which it ran has restarted; the run is over when its launcher is silent', () => {
    const refused = {
      phase: 'Failed',
      message: 'Pod was rejected: Allocate failed due to no healthy devices present',
    };
    const pods = [aPod(1, { spec: { containers: [], nodeName: 'worker-1' }, status: refused })];
    const ran = {
      launcher: { podUID: 'pod-1', incarnation: 1 },
      startup: { machineReadyAt: '2026-01-01T11:00:00Z' },
    };
    const refusedAfter = (status: VirtualMachineStatus, more: Partial<World> = {}) =>
      aWorld({ vm: aVm({ runStrategy: 'Once' }, status), pods, nodes: [readyNode], ...more });
    // It never ran, so that its one run is still owed.
    expect(actionsOf(refusedAfter({}))).toContain('CreatePod');
    expect(actionsOf(refusedAfter(ran))).not.toContain('CreatePod');
    expect(statusIn(refusedAfter(ran)).lastRun).toMatchObject({
      result: 'NodeRestarted',
      message: expect.any(String),
    });
    // The kubelet will kill it, and has not done so yet.
    const heard = refusedAfter(ran, { contacts: contact('Running') });
    expect(actionsOf(heard)).toEqual([]);
    expect(conditionIn(heard, 'Running')).toBe('True Running');
  });

  it('a fence is proof', () => {
    const fenced = {
      ...silentNode,
      spec: { taints: [{ key: 'node.kubernetes.io/out-of-service', effect: 'NoExecute' }] },
    };
    const world = aWorld({ pods: [running()], nodes: [fenced] });
    // Its pod is not kept: when the taint goes, nothing would say any more that it is over.
    expect(actionsOf(world)).toEqual(['CreatePod', 'DeletePod', 'DropFinalizer']);
  });
});

describe('a running VM', () => {
  it('is Ready, and nothing is done', () => {
    const world = aWorld({ pods: [running()], nodes: [readyNode], contacts: contact('Running') });
    expect(actionsOf(world)).toEqual([]);
    expect(conditionIn(world, 'Ready')).toBe('True Running');
    expect(conditionIn(world, 'GuestReady')).toBe('False NoSignal');
  });

  it('paused by a person is Ready, paused by a full disk is not', () => {
    const paused = aWorld({ pods: [running()], nodes: [readyNode], contacts: contact('Paused') });
    expect([conditionIn(paused, 'Ready'), conditionIn(paused, 'Running')]).toEqual([
      'True Paused',
      'False Paused',
    ]);
    const full = aWorld({
      pods: [running()],
      nodes: [readyNode],
      contacts: contact('IoError', { ioError: { disk: 'root', noSpace: true } }),
    });
    expect([conditionIn(full, 'Ready'), conditionIn(full, 'Paused')]).toEqual([
      'False DiskFull',
      'True DiskFull',
    ]);
  });

  it('is Unknown when its launcher no longer calls, after a moment', () => {
    const silent = new Map([
      [
        'pod-1',
        {
          connected: false,
          lastHeardAt: NOW - 30_000,
          launcherVersion: '1',
          features: ['live'],
          results: new Map(),
          report: { state: 'Running' as const },
        },
      ],
    ]);
    const world = aWorld({ pods: [running()], nodes: [readyNode], contacts: silent });
    expect([conditionIn(world, 'Running'), conditionIn(world, 'ControlReachable')]).toEqual([
      'Unknown ControlUnreachable',
      'False NotConnected',
    ]);
  });

  it('is what it was while a new leader may still be found by a launcher that hangs on to the old one', () => {
    const conditions = [
      {
        type: 'Running',
        status: 'True',
        reason: 'Running',
        message: '',
        lastTransitionTime: '',
        observedGeneration: 1,
      },
    ] as const;
    const status = { phase: 'Running' as const, launcher: { podUID: 'pod-1' }, conditions: [...conditions] };
    const led = (seconds: number, more: Partial<World> = {}) =>
      aWorld({
        vm: aVm({}, status),
        pods: [running()],
        nodes: [readyNode],
        listeningSince: NOW - seconds * 1000,
        ...more,
      });
    expect(conditionIn(led(0), 'Running')).toBe('True Running');
    expect(planVirtualMachine(led(0)).after).toBe(5_000);
    expect(conditionIn(led(30), 'Running')).toBe('True Running');
    expect(planVirtualMachine(led(30)).after).toBe(10_000);
    expect(conditionIn(led(46), 'Running')).toBe('Unknown ControlUnreachable');
    // A node that gives no sign of life either is not waited for so long.
    const silentNodes = new Map([['worker-1', '2026-01-01T11:59:20Z']]);
    expect(conditionIn(led(6, { silentNodes }), 'Running')).toBe('Unknown NodeSilent');
  });

  it('is ended when its spec says Halted', () => {
    expect(
      actionsOf(aWorld({ vm: aVm({ runStrategy: 'Halted' }), pods: [running()], nodes: [readyNode] })),
    ).toEqual(['DeletePod']);
  });
});

describe('a VM that is gone', () => {
  it('takes its pods with it, and lets them go on proof only', () => {
    expect(actionsOf(aWorld({ vm: undefined, pods: [running()] }))).toEqual(['DeletePod']);
    const over = aPod(1, {
      metadata: { ...aPod(1).metadata, deletionTimestamp: 'x' },
      status: terminated({ exitCode: 137 }),
    });
    expect(actionsOf(aWorld({ vm: undefined, pods: [over] }))).toEqual(['DropFinalizer']);
  });
});
