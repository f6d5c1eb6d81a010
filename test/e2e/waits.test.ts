import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bed, brief, condition } from './support/bed.ts';
import { fillClaim } from './support/fill-claim.ts';
import { blankDisk, claimDisk, type TinyVm, tinyVm } from './support/manifests.ts';
import { type PollOptions, poll } from './support/poll.ts';

/** Every wait says what is waited for, in exactly these words, and ends by itself when it can. */
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open('waits');
});

afterAll(() => bed.close());

/** Applies a VM and gives the reason and message of its Ready condition when the reason is the wanted one. */
async function waitOf(name: string, vm: TinyVm, reason: string, options?: PollOptions): Promise<string> {
  await bed.apply(tinyVm(name, vm));
  const stored = await bed.untilCondition(name, 'Ready', `False ${reason}`, options);
  expect(brief(stored, 'Running')).toBe(`False ${reason}`);
  return condition(stored, 'Ready')?.message ?? '';
}

describe('the scheduler', () => {
  test('finds no node with the labels that are asked for', async () => {
    const message = await waitOf('nowhere', { pod: { nodeSelector: { disk: 'fast' } } }, 'Unschedulable');
    expect(message).toBe(
      "No node can take the VM. Scheduler: 0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
    );
  });

  test('finds no room', async () => {
    const message = await waitOf('huge', { memory: { size: '8Ti' } }, 'Unschedulable');
    expect(message).toMatch(
      /^No node can take the VM\. Scheduler: 0\/2 nodes are available: 2 Insufficient memory\./,
    );
  });

  test('finds no node with KVM where the VM insists on it', async () => {
    const message = await waitOf('kvm', { acceleration: 'KVM' }, 'KVMUnavailable');
    expect(message).toBe(
      'No node offers KVM (vmstead.io/kvm); enable virtualization on a node, or set spec.acceleration to Auto or Emulation. Scheduler: 0/2 nodes are available: 2 Insufficient vmstead.io/kvm. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.',
    );
  });

  test('may not place it where its volume is', async () => {
    await fillClaim(bed, 'elsewhere', 8, { resources: { requests: { storage: '8Mi' } } });
    const claim = JSON.parse(await bed.kubectl('get', 'pvc', 'elsewhere', '-o', 'json'));
    const chosen = claim.metadata.annotations['volume.kubernetes.io/selected-node'];
    const other = bed.cluster.nodes.find((node) => node.name !== chosen)?.name ?? '';
    const message = await waitOf(
      'apart',
      { disks: [claimDisk('data', 'elsewhere')], pod: { nodeSelector: { 'kubernetes.io/hostname': other } } },
      'Unschedulable',
    );
    expect(message).toBe(
      "No node can take the VM. Scheduler: 0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
    );
  });
});

describe('a claim', () => {
  test('that is named and not there', async () => {
    expect(await waitOf('unclaimed', { disks: [claimDisk('data', 'nobodys')] }, 'ClaimNotFound')).toBe(
      'PersistentVolumeClaim nobodys of disk data does not exist; create it, or name another one in spec.disks.',
    );
  });

  test('of a storage class that nobody provisions', async () => {
    const disk = blankDisk('data');
    const vm = { disks: [{ ...disk, claim: { ...disk.claim, storageClassName: 'nothing' } }] };
    expect(await waitOf('unbound', vm, 'ClaimUnbound')).toBe(
      'A claim has no volume yet: see kubectl describe pvc and whether its storage class has a provisioner. Scheduler: 0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found',
    );
    expect(condition(await bed.vm('unbound'), 'DisksReady')?.message).toBe(
      'PersistentVolumeClaim unbound-data of disk data has no volume yet.',
    );
  });
});

describe('the node', () => {
  test('has not the image of the kernel', async () => {
    const kernel = {
      ...tinyVm('x').spec.kernel!,
      image: 'vmstead.test/no-such-image:1',
      pullPolicy: 'Never' as const,
    };
    const message = await waitOf('imageless', { kernel }, 'ImageUnavailable');
    expect(message).toMatch(
      /^Node worker-\d cannot pull an image: .*vmstead\.test\/no-such-image:1.* Check the reference and spec\.pod\.imagePullSecrets\.$/,
    );
  });

  test('misses a Secret, and goes on when it is there', async () => {
    const cloudInit = { userDataSecretRef: { name: 'user-data' } };
    expect(await waitOf('secretless', { cloudInit }, 'SecretNotFound')).toBe(
      'Secret user-data does not exist in this namespace; create it, and the VM goes on by itself.',
    );
    await bed.kubectl('create', 'secret', 'generic', 'user-data', '--from-literal=userdata=#cloud-config');
    await bed.untilUp('secretless', { timeout: 150_000 });
    await bed.delete('secretless');
  });
});

describe('the namespace', () => {
  test('has no quota left, and the VM goes on when there is some', async () => {
    await bed.kubectl('create', 'quota', 'tight', '--hard=requests.memory=1Mi');
    const message = await waitOf('poor', {}, 'QuotaExceeded');
    expect(message).toMatch(
      /^The namespace's ResourceQuota has no room for the launcher pod: pods "vm-poor-1" is forbidden: exceeded quota: tight, requested: requests\.memory=\d+Mi, used: requests\.memory=\S+, limited: requests\.memory=1Mi$/,
    );
    await bed.kubectl('delete', 'quota', 'tight');
    await bed.untilCondition('poor', 'Ready', 'True Running');
    await bed.delete('poor');
  });

  test('has a LimitRange that the VM does not fit', async () => {
    await bed.apply({
      apiVersion: 'v1',
      kind: 'LimitRange',
      metadata: { name: 'small' },
      spec: { limits: [{ type: 'Container', max: { memory: '64Mi' } }] },
    });
    const message = await waitOf('large', {}, 'LimitRangeRefused');
    expect(message).toMatch(
      /^The namespace's LimitRange refuses the launcher pod; change it, or spec\.memory and spec\.resources: Pod "vm-large-1" is invalid: .* must be less than or equal to memory limit of 64Mi$/,
    );
    await bed.kubectl('delete', 'limitrange', 'small');
    await bed.untilCondition('large', 'Ready', 'True Running');
  });
});

test('what waits says so in kubectl get and in an event', async () => {
  const line = (await bed.kubectl('get', 'vm', 'unclaimed', '--no-headers')).trim().split(/\s+/);
  expect(line.slice(0, 4)).toEqual(['unclaimed', 'Pending', 'False', 'ClaimNotFound']);
  const ours = ['--field-selector', 'involvedObject.name=unclaimed', '--output', 'json'];
  const event = await poll(
    'the event',
    async () => JSON.parse(await bed.kubectl('get', 'events', ...ours)).items[0],
  );
  expect([event.type, event.reason, event.message]).toEqual([
    'Warning',
    'ClaimNotFound',
    'PersistentVolumeClaim nobodys of disk data does not exist; create it, or name another one in spec.disks.',
  ]);
});
