import { describe, expect, it } from 'vitest';
import type { StoredVirtualMachine } from '../../operator/virtual-machine/resources.ts';
import { type Material, page } from './page.ts';

const NOW = Date.parse('2026-01-01T01:00:00Z');
const at = (minutes: number) => new Date(NOW - minutes * 60_000).toISOString();

const vm = {
  apiVersion: 'vmstead.io/v1alpha1',
  kind: 'VirtualMachine',
  metadata: {
    name: 'web',
    namespace: 'shop',
    uid: 'u1',
    resourceVersion: '1',
    creationTimestamp: at(30),
  },
  spec: {
    memory: { size: '2Gi' },
    cpu: { cores: 2 },
    disks: [
      { name: 'root', source: { containerImage: { image: 'debian:12' } } },
      { name: 'data', source: { blank: {} }, claim: { size: '10Gi' } },
    ],
    networks: [{ name: 'default', pod: {}, ports: [{ name: 'http', port: 80 }] }],
  },
  status: {
    phase: 'Running',
    conditions: [
      {
        type: 'Ready',
        status: 'True',
        reason: 'Running',
        message: 'The guest runs.',
        lastTransitionTime: at(12),
      },
    ],
    launcher: { node: 'worker-1', podName: 'vm-web-2', podUID: 'p2', incarnation: 2, qemuVersion: '10.0.13' },
    resolved: {
      machineType: 'pc-q35-10.0',
      cpuModel: 'max',
      vcpus: 1,
      firmware: 'BIOS',
      acceleration: 'Emulation',
      memory: '2Gi',
      memoryOverhead: '90Mi',
    },
    interfaces: [{ name: 'default', mac: '02:00:00:00:00:01', ips: ['10.0.0.7'] }],
    disks: [{ name: 'data', claimName: 'web-data', capacity: '10Gi', format: 'raw', limits: 'iops 50' }],
    startup: { createdAt: at(12), scheduledAt: at(12), machineReadyAt: at(11.98), guestUpAt: at(11.9) },
    restartRequired: [{ field: 'spec.cpu.cores', running: '1', wanted: '2' }],
    lastRun: {
      incarnation: 1,
      podUID: 'p1',
      result: 'GuestPanic',
      message: 'the kernel of the guest panicked',
      finishedAt: at(13),
    },
    crashLoop: { failures: 1, retryAt: at(13) },
  },
} as const satisfies StoredVirtualMachine;

const material: Material = { vm, claims: [], operations: [], events: [], now: NOW };
const withStatus = (status: object): Material => ({
  ...material,
  vm: { ...vm, status: { ...vm.status, ...status } } as StoredVirtualMachine,
});
const line = (label: string, of: Material) => page(of).find((each) => each.startsWith(`${label}:`));

describe('page', () => {
  it('says what a person wants to know', () => {
    const claim = {
      metadata: { name: 'web-data', uid: 'c', resourceVersion: '1' },
      spec: { storageClassName: 'local' },
      status: { phase: 'Bound' },
    };
    const operation = {
      apiVersion: 'vmstead.io/v1alpha1' as const,
      kind: 'VirtualMachineOperation' as const,
      metadata: { name: 'web-restart-x', uid: 'o', resourceVersion: '1', creationTimestamp: at(12) },
      spec: { virtualMachine: 'web', type: 'Restart' as const, force: true },
      status: { phase: 'Succeeded' as const, message: 'Runs as incarnation 2.' },
    };
    const event = {
      metadata: { name: 'e', uid: 'e', resourceVersion: '1' },
      involvedObject: { uid: 'u1' },
      type: 'Normal',
      reason: 'Running',
      message: 'The guest runs on node worker-1.',
      count: 3,
      lastTimestamp: at(12),
    };
    expect(
      page({ ...material, claims: [claim], operations: [operation], events: [event] }).join('\n'),
    ).toMatchInlineSnapshot(`
      "Name:         web
      Namespace:    shop
      Age:          30m
      State:        Running, ready for 12m
      Why:          Running: The guest runs.
      What to do:   See its console: kubectl vm console web -n shop
                    Apply the changes that wait for a restart: kubectl vm restart web -n shop
      Run strategy: Always
      Machine:      1 CPU (max), 2Gi memory (and 90Mi booked for QEMU), pc-q35-10.0, BIOS, Emulation
      Pod:          vm-web-2, on node worker-1, run 2, QEMU 10.0.13
      Start:        2026-01-01T00:48:00.000Z, scheduled after 0.0 s, machine ready after 1.2 s, guest up after 6.0 s
      Last run:     run 1 ended 13m ago: GuestPanic: the kernel of the guest panicked
      Failures:     1 in a row; the next start was tried

      Conditions:
        TYPE   STATUS  FOR  REASON   MESSAGE
        Ready  True    12m  Running  The guest runs.

      Changes that wait for a restart:
        FIELD           RUNNING  WANTED
        spec.cpu.cores  1        2

      Disks:
        NAME  DEVICE  SOURCE           CLAIM             CLASS  CAPACITY  FORMAT  NOW
        root  disk    image debian:12  -                 -      -         -       -
        data  disk    blank            web-data (Bound)  local  10Gi      raw     iops 50

      Networks:
        NAME     MODEL   MAC                IPS       PORTS
        default  virtio  02:00:00:00:00:01  10.0.0.7  http 80/TCP

      Operations:
        NAME           TYPE             PHASE      AGE  MESSAGE
        web-restart-x  Restart (force)  Succeeded  12m  Runs as incarnation 2.

      Events:
        AGE            TYPE    REASON   MESSAGE
        12m (3 times)  Normal  Running  The guest runs on node worker-1."
    `);
  });

  it('copes with a VM that nobody has seen', () => {
    const { status: _, ...fresh } = vm;
    expect(
      page({ ...material, vm: fresh })
        .slice(0, 8)
        .join('\n'),
    ).toMatchInlineSnapshot(`
      "Name:         web
      Namespace:    shop
      Age:          30m
      State:        not seen by the operator
      What to do:   The operator has not seen this VM yet. Is it running? kubectl get pods -A -l
                    app.kubernetes.io/name=vmstead
      Run strategy: Always
      Machine:      2 CPUs, 2Gi memory, q35, BIOS"
    `);
  });

  it('says what it may not show', () => {
    const lines = page({ ...material, operations: undefined, events: undefined, claims: undefined });
    expect(lines).toContain('Operations:   (you may not list virtualmachineoperations here)');
    expect(lines).toContain('Events:       (you may not list events here)');
    expect(lines.find((each) => each.includes('web-data'))).not.toContain('missing');
  });

  it('gives no line to the words of a guest', () => {
    const message = 'full\nState: Running\u001b[2J\u202e';
    const conditions = [{ ...vm.status.conditions[0], message }];
    const lines = page(withStatus({ conditions }));
    expect(lines.filter((each) => each.startsWith('State:'))).toHaveLength(1);
    for (const character of ['\u001b', '\u202e']) expect(lines.join('\n')).not.toContain(character);
    expect(lines).toContain('Why:          Running: full State: Running\\u202e');
  });

  it.each([
    [
      'Paused',
      { conditions: [{ ...vm.status.conditions[0], reason: 'Paused' }] },
      'Let it go on: kubectl vm resume web -n shop',
    ],
    ['Stopped', {}, 'Start it: kubectl vm start web -n shop'],
    ['Failed', {}, 'See its last words: kubectl vm logs web -n shop --previous'],
    [
      'CrashLoopBackOff',
      {},
      'See the last words of the run that ended: kubectl vm logs web -n shop --previous',
    ],
    [
      'Stopping',
      {},
      'End it without waiting for the guest (unsaved data are lost): kubectl vm stop web -n shop --force',
    ],
    ['Unknown', {}, 'Look at its node: kubectl describe node worker-1'],
  ])('says what to do when it is %s', (phase, status, advice) => {
    const shown = line('What to do', withStatus({ phase, ...status }));
    expect(`What to do:   ${advice}`).toContain(shown);
  });
});
