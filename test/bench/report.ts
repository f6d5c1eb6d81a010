/** The measured part of docs/benchmarks.md. Pure, but for the file itself. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../../setup/paths.ts';
import { GOALS } from './goals.ts';
import { BENCHES, type Figure, type FigureId } from './measurement.ts';
import type { Record, Run } from './record.ts';
import type { Summary } from './statistics.ts';

const BEGIN = '<!-- measured: written by npm run bench -->';
const END = '<!-- end of what npm run bench writes -->';

/** Writes the measured section anew; the words around it stay. @throws Error when its marks are not there */
export async function writePage(record: Record): Promise<void> {
  const path = join(root, 'docs', 'benchmarks.md');
  const page = await readFile(path, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin)
    throw new Error(`docs/benchmarks.md has no section between ${BEGIN} and ${END}`);
  await writeFile(path, `${page.slice(0, begin + BEGIN.length)}\n\n${render(record)}\n\n${page.slice(end)}`);
}

export function render(record: Record): string {
  const parts = [table(record)];
  for (const name of BENCHES) {
    const run = record[name];
    if (run !== undefined) parts.push(section(run));
  }
  return parts.join('\n\n');
}

/** The promises, in their order. */
export function table(record: Record): string {
  const figures = new Map<FigureId, Figure>();
  for (const name of BENCHES)
    for (const figure of record[name]?.figures ?? []) figures.set(figure.id, figure);
  const median = (id: FigureId) => figures.get(id)?.summary.median;
  const cell = (id: FigureId | undefined) => {
    const figure = id === undefined ? undefined : figures.get(id);
    return figure === undefined
      ? id === undefined
        ? '–'
        : 'not measured yet'
      : brief(figure.summary, figure.unit);
  };
  const rows = GOALS.map((goal) => {
    const kept = goal.kept(median);
    const few = (figures.get(goal.ours)?.summary.n ?? 0) < (goal.least ?? 1);
    const verdict = kept === undefined ? '' : few ? 'too few runs' : kept ? 'yes' : '**no**';
    return `| ${goal.title} | ${goal.unit} | ${cell(goal.floor)} | ${goal.kubevirt} | ${cell(goal.ours)} | ${goal.goal} | ${verdict} | \`${goal.bench}\` |`;
  });
  return [
    '| | unit | floor | KubeVirt 1.9 | Vmstead | goal | kept | bench |',
    '|---|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

/** Median and interval, or the one value there is. */
export function brief({ n, median, interval, min, max }: Summary, unit: string): string {
  const digits = unit === 's' || unit === '' ? 2 : 1;
  const show = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(digits));
  if (n === 1 || min === max) return show(median);
  return interval === undefined
    ? `${show(median)} (${show(min)} to ${show(max)}, n = ${n})`
    : `${show(median)} [${show(interval[0])}, ${show(interval[1])}]`;
}

function section(run: Run): string {
  const figures = run.figures.map(({ id, unit, summary }) => {
    const { n, interval, min, max } = summary;
    const range = interval === undefined ? '' : `, ${n} values from ${min.toFixed(2)} to ${max.toFixed(2)}`;
    return `| ${id} | ${brief(summary, unit)} ${unit}${range} |`;
  });
  return [
    `### ${run.bench}`,
    `${run.date} UTC, commit ${run.commit}. ${run.machine}; load average ${run.load}. ${run.versions}.`,
    ['| figure | median [95 % interval] |', '|---|---|', ...figures].join('\n'),
    ...notesOf(run.notes),
  ].join('\n\n');
}

/** Lines of one table stay together; every other note is a paragraph. */
function notesOf(notes: readonly string[]): string[] {
  const rows = notes.filter((line) => line.startsWith('|'));
  const texts = notes.filter((line) => !line.startsWith('|'));
  return [...(rows.length > 0 ? [rows.join('\n')] : []), ...texts];
}
