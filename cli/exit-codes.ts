import type { ErrorCode } from '../crds/errors.ts';

interface ExitCode {
  readonly code: number;
  readonly text: string;
  /** Error codes that end the command so. */
  readonly of: readonly ErrorCode[];
}

/** What the shell sees. An error code that stands nowhere here is a plain failure. */
export const EXIT_CODES = [
  { code: 0, text: 'Done', of: [] },
  { code: 1, text: 'Failed: the message says why', of: [] },
  { code: 2, text: 'Wrong usage', of: ['Usage'] },
  { code: 3, text: 'Not done within --timeout; an operation goes on', of: ['Timeout'] },
  { code: 4, text: 'There is no such VM, or Vmstead is not installed', of: ['VmNotFound', 'NotInstalled'] },
  {
    code: 5,
    text: 'Not allowed: the message names the right that is missing',
    of: ['Forbidden', 'Unauthorized'],
  },
  { code: 6, text: 'The API server cannot be reached', of: ['Unreachable', 'KubeconfigUnusable'] },
  { code: 7, text: 'The VM does not run, so there is nothing to show', of: ['VmNotRunning'] },
] as const satisfies readonly ExitCode[];

export function exitCodeOf(code: ErrorCode): number {
  return (EXIT_CODES as readonly ExitCode[]).find((each) => each.of.includes(code))?.code ?? 1;
}
