import { describe, expect, it } from 'vitest';
import type { OperationType, VirtualMachineOperation } from '../../crds/virtual-machine-operation.ts';
import type { CommandResult } from '../channel/registry.ts';
import { aVm, NOW } from '../virtual-machine/testing.ts';
import { planOperations, type Situation } from './progress.ts';

const anOperation = (type: OperationType, uid = 'first', seconds = 0): VirtualMachineOperation => ({
  apiVersion: 'vmstead.io/v1alpha1',
  kind: 'VirtualMachineOperation',
  metadata: {
    name: `${uid}-name`,
    namespace: 'default',
    uid,
    generation: 1,
    creationTimestamp: new Date(NOW + seconds * 1000).toISOString(),
  },
  spec: { virtualMachine: 'web', type } as VirtualMachineOperation['spec'],
});

type State = NonNullable<Situation['alive']>['state'];

const inState = (state: State, results: Record<string, CommandResult> = {}): Situation => ({
  now: NOW,
  vm: aVm(),
  power: { state: 'Running', runStrategy: 'Always', afterIncarnation: 0 },
  highestIncarnation: 1,
  alive: { incarnation: 1, state, results: new Map(Object.entries(results)) },
  waitingFor: state === 'IoError' ? 'Disk root is full.' : `The VM is ${state}.`,
  reason: state === 'IoError' ? 'DiskFull' : state,
});

/** What is sent to the launcher, and what the operations say. */
function outcome(situation: Situation, ...operations: VirtualMachineOperation[]) {
  const { commands, updates } = planOperations(situation, operations);
  return {
    sent: commands.map(({ name }) => name),
    told: updates.map(({ operation, status }) =>
      [operation.spec.type, status.phase, status.reason, status.message].join(' | '),
    ),
  };
}

const done = { first: {} };

describe('an operation that the launcher carries out', () => {
  it.each([
    ['Pause', 'Running', ['pause']],
    ['Resume', 'Paused', ['resume']],
    ['Resume', 'IoError', ['resume']],
    ['Reset', 'Running', ['reset']],
    ['Reset', 'Paused', ['reset']],
  ] as const)('%s of a VM that is %s is sent until it is answered', (type, state, sent) => {
    expect(outcome(inState(state), anOperation(type))).toEqual({ sent, told: [] });
  });

  it.each([
    // Answered: over when the VM's status says what it is about.
    ['Pause', 'Paused', 'Succeeded | Succeeded | The VM is paused.'],
    ['Pause', 'Running', 'InProgress | InProgress | Waiting for the VM to be paused.'],
    ['Resume', 'Running', 'Succeeded | Succeeded | The VM is running.'],
    ['Resume', 'Paused', 'InProgress | InProgress | Waiting for the VM to be running.'],
    ['Resume', 'IoError', 'Failed | DiskFull | Disk root is full.'],
    ['Pause', 'IoError', 'InProgress | InProgress | Waiting for the VM to be paused.'],
    ['Reset', 'Running', 'Succeeded | Succeeded | The launcher carried out reset.'],
    ['Reset', 'Paused', 'Succeeded | Succeeded | The launcher carried out reset.'],
  ] as const)('%s, answered, of a VM that is %s: %s', (type, state, told) => {
    expect(outcome(inState(state, done), anOperation(type))).toEqual({
      sent: [],
      told: [`${type} | ${told}`],
    });
  });

  it('fails with the words of a launcher that could not', () => {
    const refused = { first: { error: { code: 'QmpRefused', message: 'QEMU refused it' } } };
    expect(outcome(inState('Running', refused), anOperation('Pause')).told).toEqual([
      'Pause | Failed | QmpRefused | QEMU refused it',
    ]);
  });

  it('waits for the one before it: what that one reaches is not its own', () => {
    const pause = anOperation('Pause');
    const resume = anOperation('Resume', 'second', 1);
    expect(outcome(inState('Running'), pause, resume)).toEqual({
      sent: ['pause'],
      told: ['Resume | InProgress | InProgress | Waiting for Pause operation first-name.'],
    });
    expect(outcome(inState('Paused', done), pause, resume)).toEqual({
      sent: ['resume'],
      told: ['Pause | Succeeded | Succeeded | The VM is paused.'],
    });
  });
});
