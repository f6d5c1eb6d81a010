import { setUp, testSteps } from '../steps/index.ts';
import { runStages, staticStages, verdict, vitest } from './stages.ts';

export async function run(): Promise<number> {
  await setUp(testSteps);
  const stages = [
    ...staticStages,
    vitest('unit'),
    vitest('api'),
    ...['qemu', 'cluster', 'faults'].map((project) => vitest(project, true)),
  ];
  return verdict(await runStages(stages));
}
