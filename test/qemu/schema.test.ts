/** Every QMP command and event that the launcher uses is one of the real QEMU's, with the members that it uses. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { docker } from '../../images/docker.ts';

interface SchemaInfo {
  name: string;
  'meta-type': string;
  'arg-type'?: string;
  'ret-type'?: string;
  'element-type'?: string;
  members?: { name: string; type: string }[];
  variants?: { type: string }[];
}

const byName = new Map<string, SchemaInfo>();
let source: string;

/** Asks QEMU itself, over its standard input. */
beforeAll(async () => {
  const words = ['qmp_capabilities', 'query-qmp-schema', 'quit']
    .map((execute) => JSON.stringify({ execute }))
    .join('\n');
  const image = process.env.VMSTEAD_QEMU_IMAGE ?? 'vmstead/qemu:dev';
  const output = await docker([
    ...['run', '--rm', '--network=none', '--entrypoint=/bin/sh', image, '-c'],
    // To a file: QEMU does not wait for a slow reader before it quits.
    `printf '%s\\n' '${words}' | qemu-system-x86_64 -nodefaults -display none -machine none -qmp stdio >/tmp/answers; cat /tmp/answers`,
  ]);
  const answer = output.split('\n').find((line) => line.includes('"meta-type"'));
  const { return: schema } = JSON.parse(answer ?? '{"return":[]}') as { return: SchemaInfo[] };
  for (const info of schema) byName.set(`${info['meta-type']}:${info.name}`, info);
  source = await readFile(join(import.meta.dirname, '../../launcher/qmp/commands.ts'), 'utf8');
});

/** Names in an interface of commands.ts, which types alone hold. */
function namesIn(name: string): string[] {
  const body = new RegExp(`interface ${name} \\{\\n([\\s\\S]*?)\\n\\}`).exec(source)?.[1] ?? '';
  return [...body.matchAll(/^ {2}'?([A-Za-z_-]+)'?: /gm)].map((match) => match[1]!);
}

function object(type: string | undefined): SchemaInfo | undefined {
  const info = byName.get(`object:${type}`);
  if (info !== undefined) return info;
  const array = byName.get(`array:${type}`);
  return array === undefined ? undefined : object(array['element-type']);
}

function members(type: string | undefined): string[] {
  const info = object(type);
  return [
    ...(info?.members ?? []).map(({ name }) => name),
    ...(info?.variants ?? []).flatMap((each) => members(each.type)),
  ];
}

test('commands', () => {
  const commands = namesIn('QmpCommands');
  expect(commands.length).toBeGreaterThan(10);
  for (const command of commands) expect(byName.get(`command:${command}`), command).toBeDefined();
  const answer = (command: string) => members(byName.get(`command:${command}`)?.['ret-type']);
  expect(answer('query-status')).toEqual(expect.arrayContaining(['status', 'running']));
  expect(answer('query-cpus-fast')).toEqual(expect.arrayContaining(['cpu-index', 'thread-id']));
  expect(answer('query-balloon')).toEqual(expect.arrayContaining(['actual']));
  expect(answer('query-chardev')).toEqual(expect.arrayContaining(['label', 'frontend-open']));
  expect(answer('query-blockstats')).toEqual(expect.arrayContaining(['node-name', 'stats']));
  expect(answer('query-named-block-nodes')).toEqual(expect.arrayContaining(['node-name', 'drv', 'image']));
});

test('events', () => {
  const events = namesIn('QmpEvents');
  expect(events.length).toBeGreaterThan(5);
  for (const event of events) expect(byName.get(`event:${event}`), event).toBeDefined();
  const told = (event: string) => members(byName.get(`event:${event}`)?.['arg-type']);
  expect(told('BLOCK_IO_ERROR')).toEqual(
    expect.arrayContaining(['node-name', 'action', 'nospace', 'reason']),
  );
  expect(told('VSERPORT_CHANGE')).toEqual(['id', 'open']);
});

test('run states', () => {
  const values = [
    ...(source.match(/export type RunState =\n([\s\S]*?);/)?.[1] ?? '').matchAll(/'([a-z-]+)'/g),
  ];
  const status = byName.get('command:query-status')?.['ret-type'];
  const type = object(status)?.members?.find(({ name }) => name === 'status')?.type;
  const known = (byName.get(`enum:${type}`) as SchemaInfo & { values: string[] }).values;
  expect(values.map((match) => match[1]).sort()).toEqual([...known].sort());
});
