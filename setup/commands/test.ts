import { setUp, testSteps } from '../steps/index.ts';
import { runStages, staticStages, verdict, vitest } from './stages.ts';

export async function run(): Promise<number> {
  await setUp(testSteps);
  const stages = [...staticStages, ...['unit', 'qemu', 'api', 'cluster', 'faults'].map(vitest)];
  return verdict(await runStages(stages));
}
