/** Snapshots and the way back, as a person makes them: objects applied, commands typed. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { API_VERSION, LABEL } from '../../crds/api.ts';
import {
  type StoredRestore,
  type StoredSnapshot,
  virtualmachinerestores,
  virtualmachinesnapshots,
} from '../../operator/snapshot/resources.ts';
import { kubectlVm } from '../cluster/kubectl-vm.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { Bed } from './support/bed.ts';
import { boots, lastAcknowledged } from './support/guest.ts';
import { blankDisk, sectorWriter, tinyVm } from './support/manifests.ts';
import { poll } from './support/poll.ts';

const SLOW = { timeout: 300_000 };
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open('snapshots');
});
afterAll(async () => {
  await bed.kubectl('delete', 'vmsnapsched,vmsnap,vmrestore', '--all', '--wait=false');
  await bed.close();
});

const object = (kind: string, name: string, spec: object) => ({
  apiVersion: API_VERSION,
  kind,
  metadata: { name },
  spec: { virtualMachine: 'web', ...spec },
});

const snapshotNow = (name: string): Promise<StoredSnapshot> =>
  bed.client.get(virtualmachinesnapshots, { namespace: bed.namespace, name });
const restoreNow = (name: string): Promise<StoredRestore> =>
  bed.client.get(virtualmachinerestores, { namespace: bed.namespace, name });

async function until<T>(what: string, get: () => Promise<T>, holds: (stored: T) => boolean): Promise<T> {
  return await poll(
    what,
    async () => {
      const stored = await get();
      return holds(stored) ? stored : undefined;
    },
    { timeout: 120_000, describe: async () => JSON.stringify(await get()) },
  );
}

/** A disk that is exported while its guest writes has one history, and all that was acknowledged before. */
async function exported(options: readonly string[], consistency: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'vmstead-export-'));
  try {
    const output = join(folder, 'web.raw');
    const before = options.length === 0 ? parseAcknowledgements(bed.log('web')) : [];
    const { kubeconfigPath } = bed.cluster;
    const said = await kubectlVm(
      kubeconfigPath,
      'export',
      'web',
      '-o',
      output,
      '-n',
      bed.namespace,
      ...options,
    );
    expect(said.stderr).toContain(`(${consistency} consistent)`);
    const sum = createHash('sha256')
      .update(await readFile(output))
      .digest('hex');
    expect(said).toMatchObject({ code: 0, stdout: `${sum}  web.raw\n` });
    expect(await readdir(folder)).toEqual(['web.raw']);
    const ring = await readRing(output);
    expect(ring.records.length).toBeGreaterThan(0);
    expect(judge(ring, before)).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test('a VM with memory goes on where it was; what cannot be is said; deleting lets go', SLOW, async () => {
  const vm = tinyVm('web', {
    // What is looked at is the way there and back, not the speed of a KVM that this machine may or may not have.
    acceleration: 'Emulation',
    guest: sectorWriter('data'),
    disks: [blankDisk('data', '256Mi')],
    state: { size: '512Mi', reclaimPolicy: 'Delete' },
  });
  await bed.apply(vm);
  await bed.untilUp('web');
  await bed.untilLog('web', 'writes', (text) => lastAcknowledged(text) > 0);

  await bed.apply(object('VirtualMachineSnapshot', 'first', { memory: 'Include' }));
  const first = await until(
    'snapshot first verified',
    () => snapshotNow('first'),
    ({ status }) =>
      status?.conditions?.some(({ type, status }) => type === 'Verified' && status === 'True') === true,
  );
  expect(first.status).toMatchObject({
    phase: 'Ready',
    consistency: 'Memory',
    memory: { claimName: 'web-state', sha256: expect.any(String) },
    disks: [{ name: 'data', sha256: expect.any(String) }],
  });

  await exported(['--snapshot', 'first'], 'Memory');
  await exported([], 'Crash');

  await bed.apply(object('VirtualMachineRestore', 'waits', { snapshot: 'first' }));
  await until(
    'a restore without stop to wait',
    () => restoreNow('waits'),
    ({ status }) => status?.conditions?.[0]?.reason === 'VirtualMachineRunning',
  );
  await bed.kubectl('delete', 'vmrestore', 'waits');

  await bed.apply(object('VirtualMachineRestore', 'back', { snapshot: 'first', stop: true }));
  const back = await until(
    'the restore',
    () => restoreNow('back'),
    ({ status }) => status?.phase === 'Succeeded' || status?.phase === 'Failed',
  );
  expect(back.status).toMatchObject({ phase: 'Succeeded', snapshot: 'first', memory: true, incarnation: 2 });
  // The same boot in another pod, and it writes.
  const acknowledged = () => bed.log('web').match(/VMSTEAD-SECTOR boot_id=/g)?.length ?? 0;
  const before = acknowledged();
  await bed.untilLog('web', 'the restored guest to write', () => acknowledged() > before + 2);
  expect(boots(bed.log('web'))).toHaveLength(1);

  const said = await kubectlVm(bed.cluster.kubeconfigPath, 'snapshot', 'web', '-n', bed.namespace);
  expect(said).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Snapshot web-\S+ of web is ready \(Crash\)/),
  });
  const name = /web-\S+/.exec(said.stdout)![0];
  await bed.kubectl('delete', 'vmsnap', name, 'first');
  await poll(
    'the layers and the memory to be let go of',
    async () => {
      const list = await bed.inLauncher('web', 'sh', '-c', 'cat /disks/data/layers.json; ls /state/memory');
      return list.includes('"snapshots": []') && !list.includes('.img\n') ? true : undefined;
    },
    { timeout: 60_000 },
  );

  // A clone of the VM as it runs: another machine with the same disk, which writes on to it.
  const written = lastAcknowledged(bed.log('web'));
  const clone = await kubectlVm(bed.cluster.kubeconfigPath, 'clone', 'web', 'twin', '-n', bed.namespace);
  expect(clone).toMatchObject({ code: 0, stdout: 'VM twin is a clone of web\n' });
  await bed.untilUp('twin');
  await bed.untilLog('twin', 'the twin to write', (text) => lastAcknowledged(text) > 0);
  // The first thing that its guest says of the disk is whose last sector it has found there.
  const [, bootId, sequence] = /VMSTEAD-SECTOR-FOUND boot_id=(\S+) seq=(\d+)/.exec(bed.log('twin')) ?? [];
  expect(bootId).toBe(boots(bed.log('web'))[0]?.bootId);
  expect(Number(sequence)).toBeGreaterThanOrEqual(written);
  const [web, twin] = await Promise.all([bed.vm('web'), bed.vm('twin')]);
  expect(twin.status?.resolved?.uuid).not.toBe(web.status?.resolved?.uuid);
  await poll(
    'the twin to need its image no more',
    async () => {
      const { items } = JSON.parse(await bed.kubectl('get', 'vmimg,vmsnap', '-o', 'json'));
      const [disk] = (await bed.vm('twin')).status?.disks ?? [];
      return items.length === 0 && disk?.base?.state !== 'Copying' ? true : undefined;
    },
    { timeout: 120_000 },
  );
  await bed.kubectl('delete', 'vm', 'twin', '--wait=false');

  // Due at the next full minute, whatever becomes of the VM meanwhile.
  const nightly = { schedule: '* * * * *', retention: { count: 1 } };
  await bed.apply(object('VirtualMachineSnapshotSchedule', 'nightly', nightly));

  // Off: a pod without a guest takes it, and lets go of the claims for the next start.
  await kubectlVm(bed.cluster.kubeconfigPath, 'stop', 'web', '--force', '-n', bed.namespace);
  await bed.apply(object('VirtualMachineSnapshot', 'off', {}));
  const off = await until(
    'the snapshot of a VM that is off',
    () => snapshotNow('off'),
    ({ status }) =>
      status?.phase === 'Failed' ||
      status?.conditions?.some(({ type, status }) => type === 'Verified' && status === 'True') === true,
  );
  expect(off.status).toMatchObject({ phase: 'Ready', disks: [{ name: 'data', sha256: expect.any(String) }] });
  await kubectlVm(bed.cluster.kubeconfigPath, 'start', 'web', '-n', bed.namespace);
  await bed.untilLog('web', 'a second boot to write', (text) => boots(text).length === 2);

  await poll(
    'a snapshot of the schedule to be ready',
    async () => {
      const list = await bed.client.list(virtualmachinesnapshots, { namespace: bed.namespace });
      return list.some((each) => each.metadata.labels?.[LABEL.schedule] && each.status?.phase === 'Ready')
        ? true
        : undefined;
    },
    { timeout: 150_000 },
  );
});
