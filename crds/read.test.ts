import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readVirtualMachine } from './read.ts';

const file = (spec: string) =>
  parse(`
apiVersion: vmstead.io/v1alpha1
kind: VirtualMachine
metadata: {name: web}
spec:
  memory: {size: 1Gi}
  disks: [{name: root, source: {claim: {name: root}}}]
${spec}`);

describe('readVirtualMachine', () => {
  it('takes away nulls, as the API server does', () => {
    expect(readVirtualMachine(file('  kernel:\n  cpu: {cores: null}\n'), 'vm.yaml').spec).toEqual({
      memory: { size: '1Gi' },
      disks: [{ name: 'root', source: { claim: { name: 'root' } } }],
      cpu: {},
    });
  });

  it('names every mistake', () => {
    expect(() =>
      readVirtualMachine(file('  cpu: {cores: 0}\n  bogus: 1\n  pod: {tolerations: [null]}\n'), 'vm.yaml'),
    ).toThrow(
      [
        'vm.yaml is no VirtualMachine that the API server would take:',
        '  spec.cpu.cores: Too small: expected number to be >=1',
        '  spec.pod.tolerations[0]: Invalid input: expected object, received null',
        '  spec: Unrecognized key: "bogus"',
      ].join('\n'),
    );
  });

  it('does not lose a key that JavaScript treats apart', () => {
    const vm = JSON.parse('{"spec": {"pod": {"labels": {"__proto__": "a"}}}}');
    expect(() => readVirtualMachine(vm, 'vm.yaml')).toThrow(
      'spec.pod.labels.__proto__: there is no such field',
    );
  });

  it('says so when there is no object', () => {
    expect(() => readVirtualMachine(null, 'vm.yaml')).toThrow('the object: ');
  });
});
