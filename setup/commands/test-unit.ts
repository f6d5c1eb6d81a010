import type { Given } from '../command-module.ts';
import { passThrough } from './pass-through.ts';

/** More arguments go to vitest: a file, `--watch`, … */
export async function run({ args }: Given): Promise<number> {
  return passThrough('vitest', [args.includes('--watch') ? 'watch' : 'run', '--project', 'unit', ...args]);
}
