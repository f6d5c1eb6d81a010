/** kubectl-vm with real guests, its console through a real terminal. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kubectlVm, kubectlVmEnvironment } from '../cluster/kubectl-vm.ts';
import { Bed, brief } from './support/bed.ts';
import { tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';
import { CTRL_RIGHT_BRACKET, inTerminal } from './support/terminal.ts';

let bed: Bed;
const run = (...args: string[]) => kubectlVm(bed.cluster.kubeconfigPath, ...args, '-n', bed.namespace);

beforeAll(async () => {
  bed = await Bed.open('cli');
});
afterAll(() => bed?.close());

/** What `stty -a` says of a terminal that reads lines and echoes them. */
const GIVEN_BACK = /[^-]icanon.*[^-]echo /s;

const terminalWith = (line: string) => inTerminal(line, kubectlVmEnvironment(bed.cluster.kubeconfigPath));
const consoleOf = (vm: string) => `kubectl vm console ${vm} -n ${bed.namespace}`;

test('the console waits for the VM, carries both directions, and gives the terminal back', async () => {
  await bed.apply(tinyVm('web', { runStrategy: 'Manual' }));
  await bed.untilCondition('web', 'Ready', 'True NotStarted');
  const terminal = terminalWith(`${consoleOf('web')}; echo code=$?; stty -a`);
  await terminal.until('web does not run (Stopped');
  expect(await run('start', 'web')).toMatchObject({ code: 0 });
  await terminal.until('Connected to web; Ctrl-] leaves.');
  await bed.untilUp('web');
  // The shell may not read yet when the guest is up.
  await poll('the guest to answer', () => {
    terminal.type('\r');
    return terminal.screen().includes('guest#');
  });
  terminal.type('echo hello-$((6*7))\r');
  await terminal.until('hello-42');
  terminal.type(CTRL_RIGHT_BRACKET);
  const { screen } = await terminal.ended();
  expect(screen).toContain('Left the console of web; the VM goes on.');
  expect(screen).toContain('code=0');
  expect(screen).toMatch(GIVEN_BACK);
  expect(brief(await bed.vm('web'))).toBe('True Running');
});

describe('with a VM that runs', () => {
  test('the terminal is given back when a signal ends the console', async () => {
    const terminal = terminalWith(`sh -c 'echo pid=$$; exec ${consoleOf('web')}'; echo code=$?; stty -a`);
    await terminal.until('Connected to web');
    process.kill(Number(/pid=(\d+)/.exec(terminal.screen())?.[1]), 'SIGTERM');
    const { screen } = await terminal.ended();
    expect(screen).toContain('code=143');
    expect(screen).toMatch(GIVEN_BACK);
  });

  test("what the guest says cannot harm the terminal through logs, and the launcher's words are not in it", async () => {
    await bed.typeInto('web', "printf '\\033]0;owned\\007\\033[31mred\\033[0m\\n'; echo end-of-$((1+1))");
    await poll('the log to have it', async () => (await run('logs', 'web')).stdout.includes('end-of-2'));
    const { code, stdout } = await run('logs', 'web');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^red$/m);
    expect(stdout).toContain('VMSTEAD-GUEST-UP');
    for (const harm of ['\u001b', '\u0007', '\r', '{"level"']) expect(stdout).not.toContain(harm);
    const tail = await run('logs', 'web', '--tail', '3');
    expect(tail.stdout.trimEnd().split('\n').length).toBeLessThanOrEqual(3);
  });

  test('every operation does what it says, and describe tells', async () => {
    expect(await run('pause', 'web')).toMatchObject({ code: 0 });
    const paused = await run('describe', 'web');
    expect(paused.stdout).toMatch(/^State: {8}Paused/m);
    expect(paused.stdout).toContain(`Let it go on: kubectl vm resume web -n ${bed.namespace}`);
    expect(await run('resume', 'web')).toMatchObject({ code: 0 });
    expect(await run('reset', 'web')).toMatchObject({ code: 0 });
    expect(await run('restart', 'web', '--force')).toMatchObject({ code: 0 });
    await bed.until('web', 'its second run', ({ status }) => status?.launcher?.incarnation === 2);
    await bed.untilUp('web');
    expect(await run('stop', 'web')).toMatchObject({ code: 0 });
    const stopped = await run('describe', 'web');
    expect(stopped.stdout).toMatch(/^State: {8}Stopped, ready/m);
    expect(stopped.stdout).toMatch(/^ {2}web-stop-\w{5} +Stop +Succeeded/m);
    expect(stopped.stdout).toMatch(/^Last run: {5}run 2 ended/m);
    await poll('its pod to be gone', async () => (await bed.podsOf('web')).length === 0);
    expect(await run('logs', 'web')).toMatchObject({
      code: 7,
      stderr: expect.stringContaining('web has no logs: it has no pod (Stopped: Stopped by'),
    });
  });
});

test('the last words of a run that failed are there while the next one runs, and after that one too', async () => {
  await bed.apply(tinyVm('panics', { runStrategy: 'RerunOnFailure' }));
  await bed.untilUp('panics');
  await bed.typeInto('panics', 'echo last-words; panic');
  await bed.until('panics', 'its second run', ({ status }) => status?.launcher?.incarnation === 2);
  await bed.untilUp('panics');
  const previous = await run('logs', 'panics', '--previous');
  expect(previous).toMatchObject({ code: 0, stdout: expect.stringMatching(/^last-words$/m) });
  expect((await run('logs', 'panics')).stdout).not.toMatch(/^last-words$/m);
  await bed.typeInto('panics', 'poweroff');
  await bed.untilCondition('panics', 'Ready', 'True Finished');
  // Off, the run that is over is the last one, by either name, and of the one before it nothing is left.
  for (const words of [
    ['logs', 'panics'],
    ['logs', 'panics', '--previous'],
  ]) {
    const { code, stdout } = await run(...words);
    expect([code, stdout.match(/GUEST-UP|GUEST-DOWN|last-words/g)]).toEqual([0, ['GUEST-UP', 'GUEST-DOWN']]);
  }
  const kept = (await bed.podsOf('panics')).map(({ metadata }) => metadata.name);
  expect(kept).toEqual(['vm-panics-2']);
});
