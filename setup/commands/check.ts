import { runStages, staticStages, verdict } from './stages.ts';

export async function run(): Promise<number> {
  return verdict(await runStages(staticStages));
}
