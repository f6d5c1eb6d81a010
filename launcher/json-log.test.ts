import { expect, test } from 'vitest';
import { jsonLog } from './json-log.ts';

const vm = { namespace: 'default', name: 'web', uid: 'u' };

function logged(act: (log: ReturnType<typeof jsonLog>) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  act(jsonLog({ vm, incarnation: 3 }, (line) => lines.push(line)));
  expect(lines.every((line) => line.indexOf('\n') === line.length - 1)).toBe(true);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a line has what the page of logs promises, and each key once', () => {
  const [line] = logged((log) => log.info({ message: 'of a field', how: 'Signal' }, 'the guest is up'));
  expect(line).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    component: 'launcher',
    namespace: 'default',
    vm: 'web',
    incarnation: 3,
    how: 'Signal',
    message: 'the guest is up',
  });
});

test('errors are told, lines of the guest stay one line, and debug is not asked for', () => {
  const lines = logged((log) => {
    log.debug({}, 'nobody asked');
    log.warn({ err: new TypeError('no'), qemu: 'two\nlines' }, 'QEMU says');
  });
  expect(lines).toEqual([
    expect.objectContaining({
      level: 'warn',
      qemu: 'two\nlines',
      err: { type: 'TypeError', message: 'no', stack: expect.stringContaining('TypeError: no') },
    }),
  ]);
});
