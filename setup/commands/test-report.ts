export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: {
    /** Absolute path of the file. */
    name: string;
    status: string;
    assertionResults: { status: string; fullName: string }[];
  }[];
}

/**
 * Counts what vitest's JSON report says. A file that could not be loaded has no tests, an error outside of tests only
 * shows in the exit code, and a run that died leaves no report: each of these is one failure.
 *
 * @param text the report, undefined when there is none
 * @param exitCode vitest's
 */
export function countTests(text: string | undefined, exitCode: number): Counts {
  if (text === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(text) as VitestReport;
  const broken = report.testResults.filter(
    (file) =>
      file.status === 'failed' && !file.assertionResults.some((assertion) => assertion.status === 'failed'),
  );
  let failed = report.numFailedTests + broken.length;
  if (failed === 0 && exitCode !== 0) failed = 1;
  return { passed: report.numPassedTests, failed, skipped: report.numPendingTests + report.numTodoTests };
}

/** What failed in a file: its tests' names, or none where the file could not be loaded. */
export interface FailedFile {
  path: string;
  passed: number;
  tests: readonly string[];
}

/** @param text the report of a run that did not die */
export function failedFiles(text: string): FailedFile[] {
  const { testResults } = JSON.parse(text) as VitestReport;
  return testResults
    .filter(({ status }) => status === 'failed')
    .map(({ name, assertionResults }) => ({
      path: name,
      passed: assertionResults.filter(({ status }) => status === 'passed').length,
      tests: assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
    }));
}

/**
 * The counts of a run whose failed files ran a second time, as a whole.
 *
 * @param first the first run's
 * @param files those that failed in it
 * @param second the second run's, of these files alone
 */
export function secondTry(first: Counts, files: readonly FailedFile[], second: Counts): Counts {
  const passedBefore = files.reduce((sum, { passed }) => sum + passed, 0);
  return {
    passed: first.passed - passedBefore + second.passed,
    failed: second.failed,
    skipped: first.skipped,
  };
}
