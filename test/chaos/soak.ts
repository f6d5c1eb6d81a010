/**
 * `npm run soak -- [MINUTES] [SEED]`: VMs that write all the time, and something dies every few seconds. The seed is
 * printed, and the same seed does the same things in the same order. The result goes to docs/chaos.md.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { leases } from '../../operator/kube/resources.ts';
import { releaseNamespace } from '../../setup/deploy.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { Bed } from '../e2e/support/bed.ts';
import { killLauncher, killQemu } from '../e2e/support/kill.ts';
import { blankDisk, sectorWriter, tinyVm } from '../e2e/support/manifests.ts';
import { installRelease } from '../e2e/support/release.ts';
import { random } from './random.ts';
import { cell, record, today } from './record.ts';

const minutes = Number(process.argv[2] ?? 10);
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
const next = random(seed);
const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;

await installRelease(console.log);
console.log(`soak: ${minutes} minutes, seed ${seed} (again: npm run soak -- ${minutes} ${seed})`);
const bed = await Bed.open('soak');
const vms = ['one', 'two', 'three'];

const podOf = async (vm: string) => (await bed.pod(vm)).metadata.name;

const BLOWS: Record<string, (vm: string) => Promise<unknown>> = {
  'SIGKILL for the launcher': (vm) => killLauncher(bed, vm),
  'SIGKILL for QEMU': (vm) => killQemu(bed, vm),
  'kubectl delete pod': async (vm) => bed.kubectl('delete', 'pod', await podOf(vm), '--wait=false'),
  'kubectl delete pod --force': async (vm) =>
    bed.kubectl('delete', 'pod', await podOf(vm), '--force', '--grace-period=0', '--wait=false'),
  'a panic': (vm) => bed.typeInto(vm, 'panic'),
  'a reboot': (vm) => bed.typeInto(vm, 'reboot'),
  'the leading operator deleted': async () => {
    const lease = await bed.client.get(leases, { namespace: releaseNamespace, name: 'vmstead-operator' });
    const pod = lease.spec?.holderIdentity?.split('_')[0] ?? '';
    const where = ['--namespace', releaseNamespace, '--force', '--grace-period=0', '--wait=false'];
    await kubectl(bed.cluster.kubeconfigPath, ['delete', 'pod', pod, ...where]);
  },
  'SIGKILL for containerd': () => pick(bed.cluster.nodes).service('containerd', 'kill'),
  'SIGKILL for the kubelet': () => pick(bed.cluster.nodes).service('kubelet', 'kill'),
  'SIGKILL for the API server': async () => bed.cluster.controlPlane?.service('kube-apiserver', 'kill'),
};

await bed.apply(
  ...vms.map((name) => tinyVm(name, { disks: [blankDisk('data')], guest: sectorWriter('data') })),
);
await Promise.all(vms.map((name) => bed.untilUp(name, { timeout: 180_000 })));

const end = Date.now() + minutes * 60_000;
const blows = new Map(Object.keys(BLOWS).map((what) => [what, { dealt: 0, missed: 0 }]));
while (Date.now() < end) {
  const [what, vm] = [pick(Object.keys(BLOWS)), pick(vms)];
  // What does not meet anything just then (a pod between two lives) is a miss, and no fault.
  const met = await BLOWS[what]!(vm).then(
    () => true,
    () => false,
  );
  console.log(`${new Date().toISOString()} ${what}, ${vm}${met ? '' : ' (missed)'}`);
  blows.get(what)![met ? 'dealt' : 'missed']++;
  await sleep(2000 + next() * 13_000);
}

const sum = (of: 'dealt' | 'missed') => [...blows.values()].reduce((all, each) => all + each[of], 0);
console.log(`soak: ${sum('dealt')} blows; now everything must come to rest`);
const problems: string[] = [];
try {
  for (const vm of vms) await bed.untilCondition(vm, 'Ready', 'True Running', { timeout: 420_000 });
  for (const vm of vms) await bed.patch(vm, { runStrategy: 'Halted' });
  for (const vm of vms) await bed.untilCondition(vm, 'Ready', 'True Halted', { timeout: 120_000 });
  for (const vm of vms) problems.push(...(await bed.judge(vm, `${vm}-data`)).map((each) => `${vm}: ${each}`));
  await bed.close();
} catch (error) {
  problems.push(`${error}`);
}
for (const problem of problems) console.log(problem);
console.log(`seed ${seed}: ${sum('dealt')} blows, ${problems.length} problems`);
const rows = [...blows].map(([what, { dealt, missed }]) => `| ${what} | ${dealt} | ${missed} |`);
await record(
  'soak',
  `Three VMs write all the time while something dies every few seconds, at random. At the end all of them must run, stop in good order, and their disks must hold what their guests wrote; two QEMUs on one disk are looked for all the time.
\`npm run soak -- ${minutes} ${seed}\`, ${today()}: ${sum('dealt')} blows in ${minutes} minutes, ${problems.length === 0 ? 'no problem' : `${problems.length} problems: ${problems.map(cell).join('; ')}`}.

| blow | dealt | met nothing just then |
|---|---|---|
${rows.join('\n')}`,
);
process.exit(problems.length === 0 ? 0 : 1);
