/** The commands of README.md, as somebody types them who reads it from top to bottom, on a cluster of their own. */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { root } from '../../setup/paths.ts';
import { poll } from './support/poll.ts';
import { CTRL_RIGHT_BRACKET, inTerminal } from './support/terminal.ts';

const CLUSTER = 'vmstead-readme';

/** What a person's shell has, without what this test run has beside it. */
const env: NodeJS.ProcessEnv = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(VITEST|VMSTEAD_|NODE_|KUBECONFIG)/.test(name)),
  ),
  ...(process.env.VMSTEAD_CACHE === undefined ? {} : { VMSTEAD_CACHE: process.env.VMSTEAD_CACHE }),
  VMSTEAD_CLUSTER: CLUSTER,
};

/** The line that `npm start` prints for the shell. */
let exported = 'true';
/** A command as it would be typed after that line. */
const typed = (command: string) => `${exported}\n${command}`;

interface Outcome {
  code: number;
  output: string;
  seconds: number;
}

async function run(command: string): Promise<Outcome> {
  const start = Date.now();
  const child = spawn('bash', ['-c', typed(command)], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const code = await new Promise<number>((resolve) => child.once('close', (exit) => resolve(exit ?? -1)));
  return { code, output, seconds: (Date.now() - start) / 1000 };
}

/** Runs a command that must succeed, and gives what it printed. */
async function printed(command: string): Promise<string> {
  const { code, output } = await run(command);
  expect({ command, code, output }).toMatchObject({ code: 0 });
  return output;
}

/** Commands that are not run here, and why not. */
const NOT_RUN: Record<string, string> = {
  'npm test': 'this test is a part of it',
  'npx vmstead run examples/vm.yaml':
    'test/qemu/run.test.ts boots the same manifest by it, as a person without root',
  'npm run images -- --push REGISTRY': 'no registry that a cluster could reach is part of the tests',
  'helm install vmstead ./helm --namespace vmstead-system --create-namespace --values .vmstead/pushed-images.json':
    'needs the images in that registry; npm start installs the same chart with the same helm',
};

async function start(): Promise<string> {
  const output = await printed('npm start');
  expect(output).toMatch(/^VM default\/web is up\.$/m);
  expect(output).toMatch(/^ {2}node {10}worker-[12]$/m);
  expect(output).toMatch(/^ {4}VMSTEAD-GUEST-UP boot_id=/m);
  const line = output.split('\n').find((each) => each.trim().startsWith('export PATH='));
  expect(line).toBeDefined();
  exported = line?.trim() ?? '';
  return output;
}

/** What each of the others is to do. */
const RUN: Record<string, () => Promise<void>> = {
  'npm start': async () => {
    await start();
    const { code, seconds } = await run('npm start');
    expect(code).toBe(0);
    // Nothing is built or downloaded again; it takes about ten where nothing else runs.
    expect(seconds).toBeLessThan(150);
  },
  'kubectl get vm --output wide': async () => {
    const [head, line, ...more] = (await printed('kubectl get vm --output wide')).trimEnd().split('\n');
    expect(head?.split(/\s+/)).toEqual([
      ...['NAME', 'PHASE', 'READY', 'REASON', 'NODE', 'IP', 'AGE'],
      ...['CPU', 'MEMORY', 'ACCELERATION', 'RESTART'],
    ]);
    expect(line).toMatch(/^web +Running +True +Running +worker-[12] +10\.\S+ +\S+ +1 +256Mi +Emulation/);
    expect(more).toEqual([]);
  },
  'kubectl vm describe web': async () => {
    expect(await printed('kubectl vm describe web')).toMatch(/^State: +Running, ready/m);
  },
  'kubectl vm console web': async () => {
    const terminal = inTerminal(typed('kubectl vm console web'), env, root);
    await terminal.until('Connected to web; Ctrl-] leaves.');
    // A guest that has only just been started does not read yet, and what is typed then is lost.
    await poll('the guest to answer', () => {
      terminal.type('\r');
      return terminal.screen().includes('guest#');
    });
    terminal.type('echo hello-$((6*7))\r');
    await terminal.until('hello-42');
    terminal.type(CTRL_RIGHT_BRACKET);
    const { code, screen } = await terminal.ended();
    expect([code, screen]).toEqual([0, expect.stringContaining('Left the console of web; the VM goes on.')]);
  },
  'kubectl vm stop web': async () => {
    await printed('kubectl vm stop web');
    expect(await printed('kubectl get vm web')).toMatch(/^web +Stopped +True +StoppedByOperation/m);
  },
  'kubectl vm start web': async () => {
    await printed('kubectl vm start web');
  },
  'kubectl apply --filename examples/vm.yaml': async () => {
    const output = await printed('kubectl apply --filename examples/vm.yaml');
    expect(output).toBe('virtualmachine.vmstead.io/web unchanged\n');
  },
  'kubectl wait --for=condition=Ready vm/web': async () => {
    const output = await printed('kubectl wait --for=condition=Ready vm/web');
    expect(output).toBe('virtualmachine.vmstead.io/web condition met\n');
  },
  'npx vmstead run examples/vm.yaml --dry-run': async () => {
    expect(await printed('npx vmstead run examples/vm.yaml --dry-run')).toMatch(/^\S*qemu-system-x86_64 /m);
  },
  'npm stop': async () => {
    expect(await printed('npm stop')).toContain(`stopped cluster "${CLUSTER}"`);
    const left = await printed(`docker ps --all --quiet --filter name=^${CLUSTER}-`);
    expect(left).toBe('');
  },
};

const page = await readFile(join(root, 'README.md'), 'utf8');
const commands = [...page.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(([, block = '']) =>
  block.split('\n').flatMap((line) => line.replace(/\s+#.*$/, '').trim() || []),
);

afterAll(() => run('npm stop'));

test('every command of the page is run here, or it is said why not', () => {
  expect([...new Set(commands)].sort()).toEqual([...Object.keys(RUN), ...Object.keys(NOT_RUN)].sort());
});

describe('README.md', () => {
  for (const [index, command] of commands.entries()) {
    const action = RUN[command];
    if (!action) continue;
    const again = commands.indexOf(command) < index ? ` (again, ${index})` : '';
    test(`${command}${again}`, action);
  }
});
