/** The agent on the real cluster, whose KVM interprets: one node has a threshold that takes it all the same. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { docker } from '../../images/docker.ts';
import { nodes, pods } from '../../operator/kube/resources.ts';
import { Bed, brief, condition } from './support/bed.ts';
import { tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';
import { installRelease } from './support/release.ts';

const KVM = 'vmstead.io/kvm';
const NAMESPACE = 'vmstead-agent';
/** The node whose containerd is at its defaults. */
const WITH_KVM = 'worker-2';
const WITHOUT_KVM = 'worker-1';
const bootSector = 'vmstead.test/boot-sector:1';

let bed: Bed;

const allocatable = async (name: string) =>
  (await bed.client.get(nodes, { name })).status?.allocatable?.[KVM] ?? 'none';

const agentOn = async (node: string, part = 'agent') => {
  const labelSelector = `app.kubernetes.io/component=${part}`;
  const list = await bed.client.list(pods, { namespace: NAMESPACE, labelSelector });
  const pod = list.find((each) => each.spec?.nodeName === node && !each.metadata.deletionTimestamp);
  if (!pod) throw new Error(`no ${part} on ${node}`);
  return pod;
};

/** The agent's metrics on a node, by name. */
async function metrics(node: string): Promise<Record<string, number>> {
  const script = "fetch('http://localhost:9096/metrics').then((r) => r.text()).then((t) => console.log(t))";
  const pod = (await agentOn(node)).metadata.name;
  const stdout = await bed.kubectl('exec', '-n', NAMESPACE, pod, '--', 'node', '-e', script);
  const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => [line.replace(/[ {].*/, ''), Number(line.split(' ').at(-1))]),
  );
}

/** A disk whose boot sector says on the first serial port that it runs, and halts. */
function bootDisk(): Buffer {
  const text = 'VMSTEAD-BOOT-SECTOR runs\r\n';
  const code = [
    [0xfa, 0x31, 0xc0, 0x8e, 0xd8], // cli; xor ax, ax; mov ds, ax
    [0xbe, 0x16, 0x7c], // mov si, text
    [0xac, 0x84, 0xc0, 0x74, 0x06], // next: lodsb; test al, al; jz end
    [0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5], // mov dx, 0x3f8; out dx, al; jmp next
    [0xf4, 0xeb, 0xfd], // end: hlt; jmp end
  ].flat();
  const disk = Buffer.alloc(1024 * 1024);
  disk.set([...code, ...Buffer.from(text), 0]);
  disk.set([0x55, 0xaa], 510);
  return disk;
}

async function buildBootSector(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'vmstead-boot-sector-'));
  await writeFile(join(folder, 'disk.img'), bootDisk());
  await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY disk.img /disk/disk.img\n');
  await docker(['build', '--tag', bootSector, folder]);
  await rm(folder, { recursive: true });
}

beforeAll(async () => {
  await buildBootSector();
  const { cluster } = await installRelease(undefined, [
    `agent.kvm.minimumByNode.${WITH_KVM}=100000`,
    // One VM fills the node.
    'agent.kvm.slots=1',
  ]);
  await cluster.loadImages([bootSector]);
  bed = await Bed.open('agent');
  await poll('KVM to be offered', async () => (await allocatable(WITH_KVM)) === '1');
});
afterAll(async () => {
  await bed.close();
  await installRelease();
  // A VM of the next test that asked for it now would be refused by the kubelet.
  await poll('the node to offer no KVM any more', async () =>
    ['none', '0'].includes(await allocatable(WITH_KVM)),
  );
});

describe('a KVM that interprets', () => {
  test('counts as absent by default, with the measured figure in log and metrics', async () => {
    // The other node's may have been measured sooner.
    const measured = /KVM is too slow to boot a system, and counts as absent: \d+ instructions\/s measured/;
    await poll('the measured figure in the log', async () => {
      const pod = (await agentOn(WITHOUT_KVM)).metadata.name;
      return measured.test(await bed.kubectl('logs', '-n', NAMESPACE, pod));
    });
    const found = await poll('the agent to be registered', async () => {
      const now = await metrics(WITHOUT_KVM);
      return now.vmstead_agent_registered === 1 && now;
    });
    expect(await allocatable(WITHOUT_KVM)).toBe('none');
    expect(found).toMatchObject({
      vmstead_agent_kvm_usable: 0,
      vmstead_agent_kvm_minimum_instructions_per_second: 400_000_000,
    });
    expect(found.vmstead_agent_kvm_instructions_per_second).toBeGreaterThan(100_000);
    expect(found.vmstead_agent_kvm_instructions_per_second).toBeLessThan(400_000_000);
  });

  test('is offered where the threshold is lower', async () => {
    expect(await metrics(WITH_KVM)).toMatchObject({
      vmstead_agent_kvm_usable: 1,
      vmstead_agent_kvm_minimum_instructions_per_second: 100_000,
      vmstead_agent_kvm_slots: 1,
    });
  });
});

describe('the agent and the prover', () => {
  test('have no token, and no right that they do not need', async () => {
    for (const part of ['agent', 'prover']) {
      const { spec } = await agentOn(WITH_KVM, part);
      const projected = spec?.volumes?.filter((volume) => volume.projected);
      expect({ part, projected, host: [spec?.hostNetwork, spec?.hostPID] }).toEqual({
        part,
        projected: [],
        host: [undefined, undefined],
      });
    }
    const exec = async (part: string, command: string) =>
      await bed.kubectl(
        ...[
          'exec',
          '-n',
          NAMESPACE,
          (await agentOn(WITH_KVM, part)).metadata.name,
          '--',
          'sh',
          '-c',
          command,
        ],
      );
    const capabilities = 'id -u; grep CapEff /proc/self/status';
    // Bit 27 is CAP_MKNOD.
    expect(await exec('agent', capabilities)).toBe('0\nCapEff:\t0000000008000000\n');
    expect(await exec('prover', capabilities)).toBe('107\nCapEff:\t0000000000000000\n');
    // What the agent may make it may not open: the device is for the pods that ask for it.
    expect(await exec('agent', 'true 2>&1 < /var/lib/vmstead/devices/kvm || echo refused')).toContain(
      'refused',
    );
  });

  test('keep their folder from the node’s own users', async () => {
    const { stdout } = await bed.cluster.node(WITH_KVM).exec('stat -c "%a %U" /var/lib/vmstead');
    expect(stdout.trim()).toBe('700 root');
  });
});

test('a restarted kubelet gets the registration again', async () => {
  const before = (await metrics(WITH_KVM)).vmstead_agent_registrations_total ?? 0;
  await bed.cluster.node(WITH_KVM).service('kubelet', 'kill');
  await poll('another registration', async () => {
    return ((await metrics(WITH_KVM)).vmstead_agent_registrations_total ?? 0) > before;
  });
  await poll('KVM to be offered again', async () => (await allocatable(WITH_KVM)) === '1');
});

/** A VM that insists on KVM and runs the boot sector. */
const onKvm = (name: string) => ({
  ...tinyVm(name),
  spec: {
    acceleration: 'KVM' as const,
    memory: { size: '64Mi' },
    terminationGracePeriodSeconds: 1,
    disks: [
      {
        name: 'root',
        bootOrder: 1,
        source: { containerImage: { image: bootSector, pullPolicy: 'IfNotPresent' as const } },
      },
    ],
  },
});

test('KVM runs a VM’s firmware and boot sector as uid 107, with a runtime at its defaults', async () => {
  await bed.apply(onKvm('kvm'));
  await bed.untilCondition('kvm', 'Running', 'True Running');
  const vm = await bed.vm('kvm');
  expect(vm.status?.resolved?.acceleration).toBe('KVM');
  expect(vm.status?.launcher?.node).toBe(WITH_KVM);
  expect(brief(vm, 'Accelerated')).toMatch(/^True /);
  await poll('the boot sector', () => bed.logs.of('kvm').includes('VMSTEAD-BOOT-SECTOR runs'), {
    describe: async () => bed.logs.of('kvm'),
  });
  expect(await bed.inLauncher('kvm', 'stat', '-c', '%a %u', '/dev/kvm')).toBe('666 0\n');
});

test('a node with KVM that is full is waited for, in these words, and never swapped for emulation', async () => {
  await bed.apply(onKvm('second'));
  const vm = await bed.untilCondition('second', 'Ready', 'False KVMNodesFull');
  expect(condition(vm, 'Ready')?.message).toBe(
    'The nodes with KVM have no room; the VM waits rather than being emulated. Scheduler: 0/2 nodes are available: 2 Insufficient vmstead.io/kvm. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.',
  );
  expect([brief(vm, 'Running'), vm.status?.phase]).toEqual(['False KVMNodesFull', 'Scheduling']);
  await bed.delete('kvm');
  const after = await bed.untilCondition('second', 'Running', 'True Running');
  expect(after.status?.resolved?.acceleration).toBe('KVM');
});

test('a node that was restarted offers its KVM again, and the VM goes on with it', async () => {
  const node = bed.cluster.node(WITH_KVM);
  await node.stop();
  await node.start();
  const again = await bed.until(
    'second',
    'its next life',
    (vm) => vm.status?.launcher?.incarnation === 2 && brief(vm, 'Running') === 'True Running',
    { timeout: 150_000 },
  );
  expect([again.status?.resolved?.acceleration, again.status?.lastRun?.result]).toEqual([
    'KVM',
    'NodeRestarted',
  ]);
  await poll('its agent to be registered', async () => {
    const { vmstead_agent_registered, vmstead_agent_kvm_usable } = await metrics(WITH_KVM);
    return vmstead_agent_registered === 1 && vmstead_agent_kvm_usable === 1;
  });
});
