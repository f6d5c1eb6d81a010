/** `docs/errors.md`, from the table of error codes. */
import { ERRORS } from './errors.ts';

export function errorsPage(): string {
  return [
    '# Error codes',
    '',
    '<!-- Generated from crds/errors.ts by `npm run generate`; change it there. -->',
    '',
    'The command line prints the code behind its message; the launcher puts it into its log and, for a run that failed, into `status.lastRun`.',
    '',
    '| code | what happened | what to do |',
    '|---|---|---|',
    ...Object.entries(ERRORS).map(
      ([code, { meaning, action }]) => `| \`${code}\` | ${meaning} | ${action} |`,
    ),
    '',
  ].join('\n');
}
