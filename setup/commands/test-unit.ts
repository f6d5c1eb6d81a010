import { passThrough } from './pass-through.ts';

/** More arguments go to vitest: a file, `--watch`, … */
export async function run(args: readonly string[]): Promise<number> {
  return passThrough('vitest', [args.includes('--watch') ? 'watch' : 'run', '--project', 'unit', ...args]);
}
