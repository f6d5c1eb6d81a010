/** Completion in the shells themselves: what a person types, up to the command that then runs. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kubectlVmEnvironment } from '../cluster/kubectl-vm.ts';
import { inTerminal } from '../e2e/support/terminal.ts';
import { type ServerWithCrds, startServerWithCrds } from './support/crds.ts';
import { vms, vmWith } from './support/virtual-machines.ts';

let cluster: ServerWithCrds;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  cluster = await startServerWithCrds();
  await cluster.client.create(vms, vmWith({}, 'web'));
  await cluster.client.create(vms, vmWith({}, 'db'));
  env = { ...kubectlVmEnvironment(cluster.server.kubeconfigPath), HISTFILE: '' };
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** A shell that the set-up could not install (it needs root for that) cannot be tested. */
function has(shell: string): boolean {
  try {
    execFileSync(shell, ['-c', 'true']);
    return true;
  } catch {
    return false;
  }
}

/** What kubectl's completion needs of Debian's bash-completion; the set-up installs it with the shells. */
const BASH_COMPLETION = '/usr/share/bash-completion/bash_completion';

const SHELLS: Record<string, { start: string; prepare: string }> = {
  bash: {
    start: 'bash --norc --noprofile -i',
    prepare: `source ${BASH_COMPLETION}`,
  },
  zsh: { start: 'zsh --no-rcs -i', prepare: 'autoload -U compinit; compinit -D' },
};

describe.each(Object.entries(SHELLS))('%s', (shell, { start, prepare }) => {
  it.skipIf(!has(shell) || !existsSync(BASH_COMPLETION))(
    'completes kubectl-vm and kubectl vm',
    { timeout: 120_000 },
    async () => {
      const terminal = inTerminal(start, env);
      const line = (text: string) => terminal.type(`${text}\r`);
      line(prepare);
      line(`source <(kubectl completion ${shell}); source <(kubectl-vm completion ${shell})`);
      line('echo prepared-$((6*7))');
      await terminal.until('prepared-42');
      line('kubectl-vm desc\twe\t; echo first-$?');
      await terminal.until('first-0');
      expect(terminal.screen()).toMatch(/^Name: +web\r$/m);
      expect(terminal.screen()).not.toMatch(/^Name: +db\r$/m);
      line('kubectl vm desc\td\t; echo second-$?');
      await terminal.until('second-0');
      expect(terminal.screen()).toMatch(/^Name: +db\r$/m);
      // Options after a name, and nothing but names of VMs where a VM is asked for.
      line('kubectl-vm stop web --no-w\t; echo third-$?');
      await terminal.until('virtualmachineoperation.vmstead.io/web-stop-');
      line('exit');
      await terminal.ended();
    },
  );
});

describe('fish', () => {
  const complete = (line: string): string[] =>
    execFileSync(
      'fish',
      [
        '--no-config',
        '--command',
        `kubectl completion fish | source; kubectl-vm completion fish | source; complete --do-complete '${line}'`,
      ],
      { env },
    )
      .toString()
      .trim()
      .split('\n');

  it.skipIf(!has('fish')).each(['kubectl-vm', 'kubectl vm'])('completes %s', (command) => {
    expect(complete(`${command} desc`)).toEqual([
      'describe\tState of a VM: what, why, since when, what to do',
    ]);
    expect(complete(`${command} describe w`)).toEqual(['web']);
    expect(complete(`${command} stop -n def`)).toEqual(['default']);
    expect(complete(`${command} stop web --no-w`)).toEqual([
      '--no-wait\tReturn once the operation is made, without its result',
    ]);
  });
});
