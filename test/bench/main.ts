/** `npm run bench`: measures, prints, and writes docs/benchmarks.md. */
import { argumentsOf } from '../../setup/arguments.ts';
import { commands } from '../../setup/commands.ts';
import { openBed } from './bed.ts';
import { api } from './benches/api.ts';
import { burst } from './benches/burst.ts';
import { deletion } from './benches/delete.ts';
import { disk } from './benches/disk.ts';
import { idle } from './benches/idle.ts';
import { image } from './benches/image.ts';
import { importing } from './benches/import.ts';
import { memory } from './benches/memory.ts';
import { type Pair, runPairs } from './benches/pairs.ts';
import { start } from './benches/start.ts';
import { BENCHES, type BenchName, type Measurement } from './measurement.ts';
import { loadNow, readRecord, remember, surroundings } from './record.ts';
import { brief, table, writePage } from './report.ts';

const { values, words } = argumentsOf('bench', commands.bench!, process.argv.slice(2));
const n = Number(values.n);
const rounds = Number(values.rounds);
const wanted = (words.length > 0 ? words : BENCHES) as readonly BenchName[];

const began = Date.now();
const say = (message: string) =>
  console.log(`${((Date.now() - began) / 1000).toFixed(0).padStart(5)} s  ${message}`);
using bed = await openBed(say);
const around = await surroundings(bed);

let pairs: Promise<Pair[]> | undefined;
const ofPairs = async (of: (pairs: readonly Pair[]) => Measurement): Promise<Measurement> => {
  pairs ??= runPairs(bed, n);
  return of(await pairs);
};
const run: Record<BenchName, () => Promise<Measurement>> = {
  start: () => ofPairs(start),
  api: () => ofPairs(api),
  delete: () => ofPairs(deletion),
  burst: () => burst(bed, rounds),
  memory: () => memory(bed, rounds),
  idle: () => idle(bed),
  image: () => image(bed),
  import: () => importing(bed, rounds),
  disk: () => disk(bed, rounds),
};

// Idle first: a control plane that has just started twenty VMs is not idle.
const order: readonly BenchName[] = [
  'image',
  'idle',
  'import',
  'disk',
  'start',
  'api',
  'delete',
  'memory',
  'burst',
];
for (const name of order) {
  if (!wanted.includes(name)) continue;
  const measured = await run[name]();
  console.log(`\n${name}`);
  for (const { id, unit, summary } of measured.figures)
    console.log(`  ${id.padEnd(28)} ${brief(summary, unit)} ${unit}`);
  for (const note of measured.notes) console.log(`  ${note}`);
  console.log();
  if (values['dry-run']) continue;
  const date = new Date().toISOString().slice(0, 16).replace('T', ' ');
  await writePage(await remember({ ...measured, date, load: loadNow(), ...around }));
}
console.log(table(await readRecord()));
