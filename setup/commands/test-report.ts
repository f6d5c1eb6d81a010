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
  testResults: { status: string; assertionResults: { status: string }[] }[];
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
