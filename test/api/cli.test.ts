/** kubectl-vm on a real API server, with the test in the operator's place. */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VirtualMachineOperationStatus } from '../../crds/virtual-machine-operation.ts';
import { type StoredOperation, virtualmachineoperations } from '../../operator/virtual-machine/resources.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { kubectlVm, kubectlVmEnvironment, type Outcome } from '../cluster/kubectl-vm.ts';
import { type ServerWithCrds, startServerWithCrds } from './support/crds.ts';
import { vms, vmWith } from './support/virtual-machines.ts';
import { waitFor } from './support/wait-for.ts';

let cluster: ServerWithCrds;
const run = (...args: string[]) => kubectlVm(cluster.server.kubeconfigPath, ...args);
const namespace = 'default';

beforeAll(async () => {
  cluster = await startServerWithCrds();
  await cluster.client.create(vms, vmWith({}, 'web'));
  await cluster.client.create(vms, vmWith({}, 'db'));
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** The operation that a running command makes. */
async function operationOf(vm: string, type: string): Promise<StoredOperation> {
  return await waitFor(`a ${type} of ${vm}`, async () => {
    const list = await cluster.client.list(virtualmachineoperations, { namespace });
    return list.find(
      ({ spec, status }) => spec.virtualMachine === vm && spec.type === type && !status?.phase,
    );
  });
}

/** What the operator would write. */
async function report(operation: StoredOperation, status: VirtualMachineOperationStatus): Promise<void> {
  const { name } = operation.metadata;
  await cluster.client.patch(
    virtualmachineoperations,
    { namespace, name },
    { status },
    { subresource: 'status' },
  );
}

describe('an operation', () => {
  it('is made as asked for, followed, and its result is told', async () => {
    const running = run('stop', 'web', '--force');
    const operation = await operationOf('web', 'Stop');
    expect(operation.metadata.name).toMatch(/^web-stop-[a-z0-9]{5}$/);
    expect(operation.spec).toEqual({ virtualMachine: 'web', type: 'Stop', force: true });
    await report(operation, { phase: 'InProgress', message: 'Waiting for \u001b[31mnode\u0007.' });
    // Long enough for the command to have seen it.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await report(operation, { phase: 'Succeeded', message: 'The VM is off.' });
    expect(await running).toEqual({
      code: 0,
      stdout: 'Stop of web: The VM is off.\n',
      stderr: 'web: Waiting for node^G.\n',
    });
  });

  it('that fails ends the command with its reason', async () => {
    const running = run('start', 'vm/web');
    await report(await operationOf('web', 'Start'), {
      phase: 'Failed',
      message: 'spec.runStrategy is Halted.',
    });
    expect(await running).toEqual({
      code: 1,
      stdout: '',
      stderr: 'kubectl vm: Start of web failed: spec.runStrategy is Halted. (OperationFailed)\n',
    });
  });

  it('that is deleted meanwhile ends the command', async () => {
    const running = run('reset', 'web');
    const { name } = (await operationOf('web', 'Reset')).metadata;
    await cluster.client.delete(virtualmachineoperations, { namespace, name });
    expect(await running).toMatchObject({
      code: 1,
      stderr: `kubectl vm: operation ${name} was deleted before its result was seen; kubectl vm describe web shows the state of the VM (OperationFailed)\n`,
    });
  });

  it('is not waited for longer than --timeout, nor at all with --no-wait', async () => {
    const late = await run('pause', 'web', '--timeout', '1s');
    expect(late.code).toBe(3);
    expect(late.stderr).toMatch(
      /^kubectl vm: Pause of web has not ended after 1 s: the operator has not taken it up; is it running\?; it goes on: kubectl get vmop web-pause-\w{5} -o wide \(Timeout\)\n$/,
    );
    const { code, stdout } = await run('resume', 'web', '--no-wait');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^virtualmachineoperation\.vmstead\.io\/web-resume-\w{5} created\n$/);
  });

  it('can be for several VMs at once; one that fails does not hide the others', async () => {
    const running = run('restart', 'web', 'db', 'nobody');
    await report(await operationOf('db', 'Restart'), { phase: 'Succeeded', message: 'Runs again.' });
    await report(await operationOf('web', 'Restart'), { phase: 'Failed', message: 'No.' });
    const { code, stdout, stderr } = await running;
    expect(code).toBe(4);
    expect(stdout).toBe('Restart of db: Runs again.\n');
    expect(stderr.split('\n')).toEqual([
      'kubectl vm: web: Restart of web failed: No. (OperationFailed)',
      'kubectl vm: nobody: there is no VM nobody in namespace default; choose another with -n, kubectl get vm -A lists them (VmNotFound)',
      '',
    ]);
  });
});

describe('a person without rights', () => {
  let kubeconfig: string;
  beforeAll(async () => {
    kubeconfig = await cluster.server.kubeconfigFor('jane');
    const admin = (...args: string[]) => kubectl(cluster.server.kubeconfigPath, args);
    await admin('create', 'role', 'viewer', '--verb=get,list', '--resource=virtualmachines.vmstead.io');
    await admin('create', 'rolebinding', 'jane', '--role=viewer', '--user=jane');
  });

  it('is told which right is missing', async () => {
    expect(await kubectlVm(kubeconfig, 'stop', 'web')).toMatchObject({
      code: 5,
      stderr:
        'kubectl vm: user jane may not create virtualmachineoperations.vmstead.io in namespace default; a Role bound to it must have {apiGroups: ["vmstead.io"], resources: ["virtualmachineoperations"], verbs: ["create"]} (Forbidden)\n',
    });
    expect((await kubectlVm(kubeconfig, 'logs', 'web')).stderr).toContain(
      'may not list pods in namespace default',
    );
  });

  it('still gets the page of a VM that it may see', async () => {
    const { code, stdout } = await kubectlVm(kubeconfig, 'describe', 'web');
    expect(code).toBe(0);
    expect(stdout).toContain('Events:       (you may not list events here)');
  });
});

describe('what cannot be done', () => {
  it.each<[string, string[], Partial<Outcome>]>([
    [
      'a VM that is not there',
      ['stop', 'nobody'],
      {
        code: 4,
        stderr:
          'kubectl vm: there is no VM nobody in namespace default; choose another with -n, kubectl get vm -A lists them (VmNotFound)\n',
      },
    ],
    [
      'logs of a VM that does not run',
      ['logs', 'web'],
      {
        code: 7,
        stderr:
          'kubectl vm: web has no logs: it has no pod (not seen by the operator yet); kubectl vm describe web says more, -f waits (VmNotRunning)\n',
      },
    ],
    [
      'logs of a run that nobody kept',
      ['logs', 'web', '--previous'],
      { code: 7, stderr: 'kubectl vm: no pod of an earlier run of web is kept (VmNotRunning)\n' },
    ],
    [
      'a console of a VM that does not run',
      ['console', 'web', '--timeout', '0'],
      {
        code: 3,
        stderr:
          'kubectl vm: web does not run (not seen by the operator yet); kubectl vm start web starts it if it is held off (Timeout)\n',
      },
    ],
    [
      'a context that is not there',
      ['describe', '--context', 'x'],
      { code: 6, stderr: expect.stringContaining('context "x" is not in the kubeconfig') },
    ],
    [
      'a kubeconfig that is not there',
      ['describe', '--kubeconfig', '/nowhere'],
      { code: 6, stderr: expect.stringContaining('/nowhere') },
    ],
  ])('%s', async (_, args, outcome) => {
    expect(await run(...args)).toMatchObject({ stdout: '', ...outcome });
  });
});

describe('the rest', () => {
  it('describes all VMs of all namespaces', async () => {
    const { code, stdout } = await run('describe', '-A');
    expect(code).toBe(0);
    expect(stdout.match(/^Name: .*/gm)).toEqual(['Name:         db', 'Name:         web']);
  });

  it('tells versions', async () => {
    const { stdout } = await run('version');
    expect(stdout).toMatch(/^kubectl-vm {2}\d.*\nKubernetes {2}v1\..*\nVmstead {5}vmstead\.io\/v1alpha1\n$/);
  });

  it('completes names of VMs', async () => {
    expect((await run('__complete', 'stop', 'w')).stdout).toBe('web\n:4\n');
    expect((await run('__complete', 'stop', '-n', 'def')).stdout).toBe('default\n:4\n');
    expect((await run('__complete', 'stop', '-n', 'nowhere', '')).stdout).toBe(':4\n');
  });

  it('works as a plugin of kubectl', async () => {
    const env = kubectlVmEnvironment(cluster.server.kubeconfigPath);
    expect(execFileSync('kubectl', ['vm', 'version', '--client'], { env }).toString()).toMatch(
      /^kubectl-vm /,
    );
    const completed = execFileSync('kubectl', ['__complete', 'vm', 'sto'], { env, stdio: 'pipe' }).toString();
    expect(completed).toBe('stop\tStop a VM and hold it off\n:4\n');
  });

  it.each(['bash', 'zsh', 'fish'])('has a completion for %s', async (shell) => {
    const { code, stdout } = await run('completion', shell);
    expect(code).toBe(0);
    expect(stdout).toContain('kubectl-vm __complete');
  });
});

/** The examples of docs/cli.md, but for those that need a guest, a file or more of the operator than an answer. */
describe('docs/cli.md', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/cli.md'), 'utf8');
  const examples = [...page.matchAll(/^\$ kubectl vm (.*)$/gm)]
    .map(([, line = '']) => line)
    .filter((line) => !/^(clone|console|export|image|logs|restore|snapshot) /.test(line));
  const stop = new AbortController();

  /** Lets every operation succeed. */
  const answer = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      for (const each of await cluster.client.list(virtualmachineoperations, { namespace })) {
        if (!each.status?.phase) await report(each, { phase: 'Succeeded', message: 'Done.' });
      }
      await sleep(200);
    }
  };
  let answering: Promise<void>;
  beforeAll(() => {
    answering = answer();
  });
  afterAll(async () => {
    stop.abort();
    await answering;
  });

  it.each(examples)('kubectl vm %s', async (line) => {
    expect(await run(...line.split(' '))).toMatchObject({ code: 0, stderr: '' });
  });
});
