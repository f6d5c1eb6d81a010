import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseRunArguments } from './arguments.ts';
import { brokenFeatures, chooseMachineType, q35Types } from './host.ts';
import { readManifest } from './manifest.ts';
import { shellLines } from './shell.ts';

describe('the command line', () => {
  test('maps what a cluster would have', () => {
    const args = [
      'run',
      'vm.yaml',
      '--disk',
      'root=a=b.qcow2',
      '--image=x/y:1=dir',
      '--secret',
      's=f',
      '--port',
      '80=8080',
    ];
    expect(parseRunArguments([...args, '--dry-run'])).toEqual({
      file: 'vm.yaml',
      disks: new Map([['root', 'a=b.qcow2']]),
      images: new Map([['x/y:1', 'dir']]),
      secrets: new Map([['s', 'f']]),
      ports: new Map([[80, 8080]]),
      dryRun: true,
    });
  });

  test.each([
    [['run'], 'which VM? Name the file of its manifest'],
    [['start', 'x'], 'there is no command start'],
    [['run', 'a', 'b'], 'one file at a time: b is one too many'],
    [['run', 'a', '--disk', 'root'], '--disk root is not of the form name=value'],
    [['run', 'a', '--port', '80=http'], 'http is no port'],
    [['run', 'a', '--no-such'], "Unknown option '--no-such'"],
  ])('%j is refused', (args, message) => {
    expect(() => parseRunArguments(args)).toThrow(message);
  });

  test('nothing, or --help, asks for help', () => {
    expect(parseRunArguments([])).toBeUndefined();
    expect(parseRunArguments(['run', '--help'])).toBeUndefined();
  });
});

describe('a manifest', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'vmstead-manifest-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const read = (text: string) => {
    const file = join(folder, 'vm.yaml');
    writeFileSync(file, text);
    return readManifest(file);
  };
  const VM = 'apiVersion: vmstead.io/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\n';
  const SPEC = 'spec: {memory: {size: 256Mi}, kernel: {image: a, path: /k}}\n';

  test('may have other objects beside its one VM', () => {
    expect(read(`kind: Secret\n---\n${VM}${SPEC}`).metadata.name).toBe('web');
    expect(() => read('kind: Secret\n')).toThrow('has 0 VirtualMachines; vmstead run takes one');
    expect(() => read(`${VM}${SPEC}---\n${VM}${SPEC}`)).toThrow('has 2 VirtualMachines');
  });

  test('that is wrong is refused with the field', () => {
    expect(() => read(`${VM}spec: {memory: {size: much}, kernel: {image: a, path: /k}}\n`)).toThrow(
      'spec.memory.size: must be a size',
    );
    expect(() => read('a: [')).toThrow('is no YAML');
    expect(() => readManifest(join(folder, 'none.yaml'))).toThrow('cannot read');
  });
});

test('the machine type follows the QEMU that is there', () => {
  const help = [
    'Supported machines are:',
    'pc-q35-7.2           Standard PC (Q35 + ICH9, 2009)',
    'q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-10.0)',
    'pc-q35-10.0          Standard PC (Q35 + ICH9, 2009)',
    'pc-i440fx-10.0       Standard PC (i440FX + PIIX, 1996)',
  ].join('\n');
  const types = q35Types(help);
  expect(types).toEqual(['pc-q35-10.0', 'pc-q35-7.2']);
  expect(chooseMachineType('pc-q35-7.2', types)).toBe('pc-q35-7.2');
  expect(chooseMachineType('q35', types)).toBe('pc-q35-10.0');
  expect(() => chooseMachineType('q35', [])).toThrow('has no q35 machine');
  // What an old QEMU's emulation does wrongly depends on the QEMU, not on the machine type asked for.
  expect(brokenFeatures(types)).toEqual([]);
  expect(brokenFeatures(['pc-q35-7.2', 'pc-q35-7.1'])).toEqual(['cx16']);
});

test('a dry run can be pasted into a shell', () => {
  expect(shellLines('qemu', ['-append', "a'b c", '-m', 'size=1M', '-nodefaults'])).toBe(
    "qemu \\\n  -append 'a'\\''b c' \\\n  -m size=1M \\\n  -nodefaults",
  );
});
