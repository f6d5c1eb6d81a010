import { mkdir, readFile, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { generatedFiles } from '../../crds/generate.ts';
import { root, stateDirectory } from '../paths.ts';
import { elapsed } from '../steps/reporter.ts';
import { runLogged } from '../steps/run.ts';
import { passThrough } from './pass-through.ts';
import { type Counts, countTests, failedFiles, secondTry } from './test-report.ts';

/** One line of `npm test`. */
export interface Stage {
  name: string;
  /** `retried`: what failed at first and ran a second time. */
  run(): Promise<Counts & { retried?: readonly string[] }>;
}

const reports = join(stateDirectory, 'reports');

/** A stage that is one check: a program that ends with 0. Its output is shown only when it does not. */
function program(name: string, command: string, ...args: string[]): Stage {
  return {
    name,
    async run() {
      const lines: string[] = [];
      try {
        await runLogged((line) => lines.push(line), command, args, { cwd: root });
        return { passed: 1, failed: 0, skipped: 0 };
      } catch (error) {
        for (const line of lines) console.log(line);
        console.log(error instanceof Error ? error.message : error);
        return { passed: 0, failed: 1, skipped: 0 };
      }
    },
  };
}

const generated: Stage = {
  name: 'generated files',
  async run() {
    const stale: string[] = [];
    for (const [path, content] of generatedFiles()) {
      if ((await readFile(join(root, path), 'utf8').catch(() => '')) !== content) stale.push(path);
    }
    for (const path of stale)
      console.log(`${path} is not what its source says: run "npm run generate" and commit it`);
    return { passed: stale.length === 0 ? 1 : 0, failed: stale.length === 0 ? 0 : 1, skipped: 0 };
  },
};

export const staticStages: readonly Stage[] = [
  program('format and lint', 'biome', 'ci', '--colors=off', '.'),
  program('types', 'tsc', '-p', '.'),
  program('unused code', 'knip'),
  generated,
];

/** More failed files than these are no bad luck. */
const MOST_SECOND_TRIES = 3;

/**
 * A project of vitest.config.ts.
 *
 * @param again the files that fail run once more, at most three of them. For tests of whole machines, where one guest
 *   that was slow would else say nothing about a thousand others; what failed at first is shown in the summary.
 */
export function vitest(project: string, again = false): Stage {
  return {
    name: `${project} tests`,
    async run() {
      const first = await runProject(project);
      const counts = countTests(first.text, first.code);
      const files = first.text === undefined || counts.failed === 0 ? [] : failedFiles(first.text);
      if (!again || files.length === 0 || files.length > MOST_SECOND_TRIES) return counts;
      for (const { path, tests } of files)
        console.log(`failed, and runs once more: ${relative(root, path)}: ${tests.join(', ')}`);
      const second = await runProject(project, ...files.map(({ path }) => path));
      const retried = files.map(({ path, tests }) => `${relative(root, path)} (${tests.join(', ')})`);
      return { ...secondTry(counts, files, countTests(second.text, second.code)), retried };
    },
  };
}

async function runProject(project: string, ...files: string[]): Promise<{ text?: string; code: number }> {
  const report = join(reports, `${project}.json`);
  await mkdir(reports, { recursive: true });
  await rm(report, { force: true });
  const code = await passThrough('vitest', [
    ...['run', '--project', project, '--passWithNoTests', ...files],
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
  ]);
  const text = await readFile(report, 'utf8').catch(() => undefined);
  return text === undefined ? { code } : { text, code };
}

/** Runs stages one after the other, whatever they say, and returns the sum. */
export async function runStages(stages: readonly Stage[]): Promise<Counts> {
  const sum: Counts = { passed: 0, failed: 0, skipped: 0 };
  const summary: string[] = [];
  for (const stage of stages) {
    const start = Date.now();
    const counts = await stage.run();
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
    const line = `${counts.failed === 0 ? '✓' : '✗'} ${stage.name}: ${counts.passed} passed, ${counts.failed} failed${skipped} (${elapsed(Date.now() - start)})`;
    console.log(line);
    summary.push(line, ...(counts.retried ?? []).map((each) => `  failed at first, ran twice: ${each}`));
    sum.passed += counts.passed;
    sum.failed += counts.failed;
    sum.skipped += counts.skipped;
  }
  if (stages.length > 1) console.log(`\n${summary.join('\n')}`);
  return sum;
}

/** The last line, and the exit code. */
export function verdict(sum: Counts): number {
  console.log(`${sum.passed} passed, ${sum.failed} failed`);
  return sum.failed === 0 && sum.passed > 0 ? 0 : 1;
}
