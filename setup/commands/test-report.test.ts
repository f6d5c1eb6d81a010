import { describe, expect, it } from 'vitest';
import { countTests, failedFiles, secondTry } from './test-report.ts';

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

describe('a second try', () => {
  const testResults = [
    { name: '/a.test.ts', status: 'passed', assertionResults: [{ status: 'passed', fullName: 'a' }] },
    {
      name: '/b.test.ts',
      status: 'failed',
      assertionResults: [
        { status: 'passed', fullName: 'b one' },
        { status: 'failed', fullName: 'b two' },
      ],
    },
    { name: '/c.test.ts', status: 'failed', assertionResults: [] },
  ];
  const files = failedFiles(report({ testResults }));

  it('is for the files that failed, with what failed in them', () => {
    expect(files).toEqual([
      { path: '/b.test.ts', passed: 1, tests: ['b two'] },
      { path: '/c.test.ts', passed: 0, tests: [] },
    ]);
  });

  it('counts in place of the first for these files, and only for these', () => {
    const first = { passed: 2, failed: 2, skipped: 0 };
    expect(secondTry(first, files, { passed: 5, failed: 0, skipped: 0 })).toEqual({
      passed: 6,
      failed: 0,
      skipped: 0,
    });
    expect(secondTry(first, files, { passed: 4, failed: 1, skipped: 0 }).failed).toBe(1);
  });
});
