import { describe, expect, it } from 'vitest';
import { guestWords, proof, type VirtualMachineView, waitingFor } from './proof.ts';

const vm: VirtualMachineView = {
  metadata: { name: 'web', namespace: 'default' },
  status: {
    conditions: [{ type: 'GuestReady', status: 'True' }],
    resolved: { acceleration: 'Emulation' },
    launcher: { node: 'worker-1', podName: 'vm-web-1' },
    interfaces: [{ ips: ['10.244.11.7'] }],
    startup: {
      createdAt: '2026-01-01T00:00:00Z',
      scheduledAt: '2026-01-01T00:00:00.100Z',
      machineReadyAt: '2026-01-01T00:00:00.900Z',
      guestUpAt: '2026-01-01T00:00:04Z',
    },
  },
};

describe('proof', () => {
  it('says where, how, when, and what the guest says', () => {
    expect(
      proof(vm, '{"level":"info","message":"state"}\nboot\n\nUP boot_id=1\n'),
    ).toBe(`VM default/web is up.
  node          worker-1
  IP            10.244.11.7
  acceleration  Emulation
  start-up      scheduled 0.1 s, machine runs 0.9 s, guest up 4.0 s after it was created
  the guest says
    boot
    UP boot_id=1`);
  });

  it('says "unknown" rather than a made-up figure', () => {
    expect(proof({ metadata: vm.metadata }, '')).toContain('guest up unknown');
  });
});

describe('guestWords', () => {
  it('lets no control character of a guest through', () => {
    expect(guestWords('\x1b[2J\x1b]0;title\x07hello\r\n')).toEqual(['[2J]0;titlehello']);
  });
});

describe('waitingFor', () => {
  it("prefers Ready's message while the VM is not Ready, then GuestReady's", () => {
    const conditions = [
      { type: 'Ready', status: 'False', message: 'no node has room' },
      { type: 'GuestReady', status: 'False', message: 'the guest boots' },
    ];
    expect(waitingFor({ metadata: vm.metadata, status: { conditions } })).toBe('no node has room');
    const ready = conditions.map((condition) => ({ ...condition, status: 'True' }));
    expect(waitingFor({ metadata: vm.metadata, status: { conditions: ready } })).toBe('the guest boots');
  });
});
