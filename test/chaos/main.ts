/**
 * `npm run chaos`: the operator dies by SIGKILL before and after every kind of write that it does, once each, over
 * the creation, a restart, a stop and the deletion of a VM. The result goes to docs/chaos.md.
 *
 * `npm run chaos -- api:create:pods` does only the failpoints that contain the given text.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../../setup/paths.ts';
import { Bed } from '../e2e/support/bed.ts';
import { boots, lastAcknowledged } from '../e2e/support/guest.ts';
import { blankDisk, operation, sectorWriter, tinyVm } from '../e2e/support/manifests.ts';
import { poll } from '../e2e/support/poll.ts';
import { installRelease } from '../e2e/support/release.ts';
import { sabotaged } from './saboteur.ts';

/** Every write of the operator, and the hit of it that kills. */
const WRITES: readonly [string, number][] = [
  ['api:create:persistentvolumeclaims', 1],
  ['api:create:leases', 1],
  ['api:create:pods', 1],
  ['api:create:pods', 2],
  ['api:apply:virtualmachines/status', 1],
  ['api:apply:virtualmachines/status', 4],
  ['api:apply:virtualmachineoperations/status', 1],
  ['api:apply:virtualmachineoperations/status', 2],
  ['api:delete:pods', 1],
  ['api:delete:leases', 1],
  ['api:patch:pods', 1],
];

interface Row {
  failpoint: string;
  /** What was being done when the operator died. */
  died: string;
  seconds: number;
  problems: string[];
}

const name = 'victim';
const long = { timeout: 120_000 };

/** One life of a VM; `stage` is told what comes next. */
async function life(bed: Bed, stage: (text: string) => void): Promise<string[]> {
  stage('create');
  await bed.apply(tinyVm(name, { disks: [blankDisk('data')], guest: sectorWriter('data') }));
  await bed.untilUp(name, long);
  await bed.untilLog(name, 'writes', (log) => lastAcknowledged(log) > 0, long);
  stage('restart');
  const restart = await bed.operate(
    operation('restart', name, 'Restart', { ttlSecondsAfterFinished: 600 }),
    long,
  );
  await bed.untilUp(name, long);
  await bed.untilLog(
    name,
    'writes again',
    (log) => boots(log).length === 2 && lastAcknowledged(log) > 0,
    long,
  );
  stage('stop');
  const stop = await bed.operate(operation('stop', name, 'Stop'), long);
  await bed.untilCondition(name, 'Ready', 'True StoppedByOperation', long);
  const problems = await bed.judge(name, `${name}-data`);
  for (const { metadata, status } of [restart, stop]) {
    if (status?.phase !== 'Succeeded') problems.push(`operation ${metadata.name}: ${status?.reason}`);
  }
  const { status } = await bed.vm(name);
  if (status?.lastRun?.incarnation !== 2)
    problems.push(`it had ${status?.lastRun?.incarnation} lives, not 2`);
  stage('delete');
  await bed.delete(name);
  await bed.kubectl('delete', 'vmop', '--all');
  await poll('nothing to be left', async () => (await bed.leftovers()).length === 0, {
    ...long,
    describe: async () => (await bed.leftovers()).join(', '),
  });
  return problems;
}

async function strike(failpoint: string): Promise<Row> {
  const start = Date.now();
  const bed = await Bed.open('chaos');
  const row: Row = { failpoint, died: 'never reached', seconds: 0, problems: [] };
  let stage = '';
  try {
    const hit = await sabotaged(
      bed,
      failpoint,
      async () => {
        row.problems = await life(bed, (text) => {
          stage = text;
        });
      },
      () => {
        row.died = stage;
      },
    );
    if (!hit) row.problems.push('the failpoint was never reached');
    bed.writers.check();
  } catch (error) {
    row.problems.push(`during ${stage}: ${error instanceof Error ? error.message : error}`);
  }
  await bed.close().catch((error) => row.problems.push(`${error}`));
  row.seconds = Math.round((Date.now() - start) / 1000);
  return row;
}

function page(rows: readonly Row[]): string {
  const passed = rows.filter(({ problems }) => problems.length === 0).length;
  const lines = rows.map(({ failpoint, died, seconds, problems }) => {
    const result = problems.length === 0 ? 'the same end, nothing lost' : problems.map(firstLine).join('; ');
    return `| \`${failpoint}\` | ${died} | ${result} | ${seconds} s |`;
  });
  return `# Chaos: the last run

The operator is killed by SIGKILL before and after each kind of write that it does, while a VM whose guest writes all the time is created, restarted, stopped and deleted.
Each time the other replicas take over, and the same end must be reached: both operations succeed, the VM had exactly two lives, the guest's own sequence of writes is whole (\`test/guests/sectors.ts\`), never two QEMUs on one disk, and nothing is left behind. Made by \`npm run chaos\` (${new Date().toISOString().slice(0, 10)}): ${passed} of ${rows.length} passed.

| failpoint | it died during | result | took |
|---|---|---|---|
${lines.join('\n')}
`;
}

const firstLine = (text: string): string => text.split('\n')[0]?.replaceAll('|', '\\|') ?? '';

await installRelease(console.log);
const only = process.argv[2] ?? '';
const failpoints = WRITES.flatMap(([write, nth]) =>
  ['before', 'after'].map((moment) => `${write}=kill@${moment}:${nth}`),
).filter((failpoint) => failpoint.includes(only));
const rows: Row[] = [];
for (const failpoint of failpoints) {
  const row = await strike(failpoint);
  rows.push(row);
  console.log(`${row.problems.length === 0 ? '✓' : '✗'} ${failpoint} (${row.died}, ${row.seconds} s)`);
  for (const problem of row.problems) console.log(`  ${problem}`);
  if (only === '') await writeFile(join(root, 'docs', 'chaos.md'), page(rows));
}
const failed = rows.filter(({ problems }) => problems.length > 0).length;
console.log(`${rows.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 && rows.length > 0 ? 0 : 1);
