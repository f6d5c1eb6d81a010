import { setUp, testSteps } from '../steps/index.ts';
import { runStages, verdict, vitest } from './stages.ts';

/** What takes too long for every `npm test`: its last result is in docs/testing.md. */
export async function run(): Promise<number> {
  await setUp(testSteps);
  return verdict(await runStages([vitest('long')]));
}
