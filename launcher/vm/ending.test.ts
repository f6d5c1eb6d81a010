import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VmsteadError } from '../../crds/errors.ts';
import { runResult, terminationMessage as schema } from '../../crds/machine-description.ts';
import { autopsy } from './autopsy.ts';
import { EXIT_CODE, endingOf, terminationMessage } from './ending.ts';

test('every result has its exit code, and the page says the same', () => {
  expect(Object.keys(EXIT_CODE).sort()).toEqual([...runResult.options].sort());
  const page = readFileSync(join(import.meta.dirname, '../../docs/launcher.md'), 'utf8');
  const rows = [...page.matchAll(/^\| ([A-Z]\w+) \| (\d+) \|/gm)].map((row) => [row[1], Number(row[2])]);
  expect(Object.fromEntries(rows)).toEqual(EXIT_CODE);
});

test('supervise passes on every exit code of ours, and takes others for a crash', () => {
  const script = readFileSync(join(import.meta.dirname, '../supervise'), 'utf8');
  expect(script).toContain('0 | 6[4-9] | 7[0-9] | 126 | 127) exit "$code"');
  for (const code of Object.values(EXIT_CODE)) expect(String(code)).toMatch(/^(0|6[4-9]|7[0-9])$/);
});

test('a message is bounded and harmless, whatever QEMU said', () => {
  const message = terminationMessage(
    { result: 'QemuFailed', message: `\u001b]0;x\u0007${'ü'.repeat(5000)}` },
    new Date(0),
  );
  expect(schema.safeParse(message).success).toBe(true);
  expect(Buffer.byteLength(JSON.stringify(message))).toBeLessThan(4096);
  expect(message.message.startsWith('?]0;x???')).toBe(true);
});

test('an error of ours keeps its code, another is the launcher’s failure', () => {
  expect(endingOf(new VmsteadError('DiskBusy', 'busy'))).toEqual({
    result: 'DiskBusy',
    code: 'DiskBusy',
    message: 'busy',
  });
  expect(endingOf(new TypeError('x is undefined'))).toMatchObject({
    result: 'QemuFailed',
    message: 'the launcher failed: x is undefined',
  });
});

test.each([
  [
    { exit: undefined, wasUp: true, lastWords: '' },
    'QemuKilled',
    'QEMU ended; with which exit code is not known',
  ],
  [
    { exit: { code: null, signal: 'SIGKILL' as const }, wasUp: true, lastWords: '' },
    'QemuKilled',
    'QEMU was killed by SIGKILL',
  ],
  [
    { exit: { code: 0, signal: null }, wasUp: true, lastWords: '' },
    'QemuKilled',
    'QEMU was asked by a signal to end',
  ],
  [
    { exit: { code: 1, signal: null }, wasUp: true, lastWords: 'x' },
    'QemuFailed',
    'QEMU ended with exit code 1: x',
  ],
  [
    { exit: { code: 1, signal: null }, wasUp: false, lastWords: 'x' },
    'MachineRefused',
    'QEMU refused to start: x',
  ],
  [
    { exit: { code: 1, signal: null }, wasUp: false, lastWords: 'Failed to get "write" lock' },
    'DiskBusy',
    'a disk is in use by another QEMU: Failed to get "write" lock',
  ],
])('the remains of QEMU: %j', (remains, result, message) => {
  expect(autopsy(remains)).toMatchObject({ result, message });
});
