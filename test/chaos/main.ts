/**
 * `npm run chaos`: the operator dies by SIGKILL before and after every kind of write that it does, over the creation,
 * a restart, a stop, a start and the deletion of a VM. The result goes to docs/chaos.md.
 *
 * `npm run chaos -- api:create:pods` does only the failpoints that contain the given text, and leaves the other rows of
 * the page as they are.
 */
import { Bed } from '../e2e/support/bed.ts';
import { boots, lastAcknowledged } from '../e2e/support/guest.ts';
import { blankDisk, operation, sectorWriter, tinyVm } from '../e2e/support/manifests.ts';
import { poll } from '../e2e/support/poll.ts';
import { installRelease } from '../e2e/support/release.ts';
import { cell, record, rowsOf, today } from './record.ts';
import { sabotaged } from './saboteur.ts';

/** Every write of the operator, and the hits of it that kill. */
const WRITES: readonly [string, readonly number[]][] = [
  ['api:create:persistentvolumeclaims', [1]],
  ['api:create:leases', [1]],
  ['api:create:pods', [1, 2]],
  ['api:apply:virtualmachines/status', [1, 4]],
  ['api:apply:virtualmachineoperations/status', [1, 2]],
  // Of a restart, of a stop, and of the deletion of a VM that runs.
  ['api:delete:pods', [1, 2, 3]],
  ['api:delete:leases', [1, 2]],
  ['api:patch:pods', [1, 3]],
  ['api:delete:virtualmachineoperations', [1]],
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

/** All that a VM goes through; `stage` is told what comes next. */
async function life(bed: Bed, stage: (text: string) => void): Promise<string[]> {
  const problems: string[] = [];
  const writes = async (boot: number) => {
    await bed.untilUp(name, long);
    await bed.untilLog(
      name,
      `boot ${boot} writes`,
      (log) => boots(log).length === boot && lastAcknowledged(log) > 0,
      long,
    );
  };
  const operate = async (type: 'Restart' | 'Stop' | 'Start') => {
    stage(type.toLowerCase());
    const manifest = operation(type.toLowerCase(), name, type, { ttlSecondsAfterFinished: 5 });
    const { status } = await bed.operate(manifest, long);
    if (status?.phase !== 'Succeeded') problems.push(`operation ${type}: ${status?.reason}`);
  };
  stage('create');
  const data = blankDisk('data', '64Mi', 'Retain');
  await bed.apply(tinyVm(name, { disks: [data], guest: sectorWriter('data') }));
  await writes(1);
  await operate('Restart');
  await writes(2);
  await operate('Stop');
  const { status } = await bed.untilCondition(name, 'Ready', 'True StoppedByOperation', long);
  if (status?.lastRun?.incarnation !== 2) {
    problems.push(`it had ${status?.lastRun?.incarnation} lives, not 2`);
  }
  await operate('Start');
  await writes(3);
  stage('delete');
  await bed.delete(name);
  await poll('nothing to be left', async () => (await bed.leftovers()).length === 0, {
    ...long,
    describe: async () => (await bed.leftovers()).join(', '),
  });
  problems.push(...(await bed.judge(name, `${name}-data`)));
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

const PASSED = 'the same end, nothing lost';

const line = ({ failpoint, died, seconds, problems }: Row): string =>
  `| \`${failpoint}\` | ${died} | ${problems.length === 0 ? PASSED : problems.map(cell).join('; ')} | ${seconds} s |`;

function section(lines: readonly string[]): string {
  const passed = lines.filter((each) => each.includes(PASSED)).length;
  return `The operator is killed by SIGKILL before and after each kind of write that it does, while a VM whose guest writes all the time is created, restarted, stopped, started and deleted. The number at the end says which of its writes of that kind it was.
Each time the other replicas take over, and the same end must be reached: the operations succeed, the VM had exactly three lives, the guests' own sequence of writes is whole (\`test/guests/sectors.ts\`), never two QEMUs on one disk, and nothing is left behind. \`npm run chaos\`, ${today()}: ${passed} of ${lines.length} passed.

The launcher's failpoints, around each command that it gives QEMU, are hit by \`test/qemu/failpoints.test.ts\` on every \`npm test\`.

| failpoint | it died during | result | took |
|---|---|---|---|
${lines.join('\n')}`;
}

await installRelease(console.log);
const only = process.argv[2] ?? '';
const all = WRITES.flatMap(([write, hits]) =>
  hits.flatMap((hit) => ['before', 'after'].map((moment) => `${write}=kill@${moment}:${hit}`)),
);
const failpoints = all.filter((failpoint) => failpoint.includes(only));
const kept = await rowsOf('failpoints');
const rows: Row[] = [];
for (const failpoint of failpoints) {
  const row = await strike(failpoint);
  rows.push(row);
  console.log(`${row.problems.length === 0 ? '✓' : '✗'} ${failpoint} (${row.died}, ${row.seconds} s)`);
  for (const problem of row.problems) console.log(`  ${problem}`);
  kept.set(`| \`${failpoint}\``, line(row));
  const done = only === '' ? failpoints.slice(0, rows.length) : all;
  await record('failpoints', section(done.flatMap((each) => kept.get(`| \`${each}\``) ?? [])));
}
const failed = rows.filter(({ problems }) => problems.length > 0).length;
console.log(`${rows.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 && rows.length > 0 ? 0 : 1);
