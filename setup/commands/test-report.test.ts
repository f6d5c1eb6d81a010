import { describe, expect, it } from 'vitest';
import { countTests } from './test-report.ts';

const report = (over: object): string =>
  JSON.stringify({
    numPassedTests: 3,
    numFailedTests: 0,
    numPendingTests: 1,
    numTodoTests: 0,
    testResults: [{ status: 'passed', assertionResults: [{ status: 'passed' }] }],
    ...over,
  });

describe('countTests', () => {
  it('takes the counts of a good run', () => {
    expect(countTests(report({}), 0)).toEqual({ passed: 3, failed: 0, skipped: 1 });
  });

  it('counts a failed test once, not its file besides', () => {
    const testResults = [{ status: 'failed', assertionResults: [{ status: 'failed' }] }];
    expect(countTests(report({ numFailedTests: 1, testResults }), 1).failed).toBe(1);
  });

  it('counts a file that could not be loaded as a failure', () => {
    expect(countTests(report({ testResults: [{ status: 'failed', assertionResults: [] }] }), 1).failed).toBe(
      1,
    );
  });

  it('counts an error outside of tests as a failure', () => {
    expect(countTests(report({}), 1).failed).toBe(1);
  });

  it('counts a run without a report as a failure', () => {
    expect(countTests(undefined, 0)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });
});
