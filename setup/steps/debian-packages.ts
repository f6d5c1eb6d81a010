import { hasProgram, installPackages } from './packages.ts';
import type { Step } from './step.ts';

/** Programs that the set-up and the tests call, and the Debian packages that have them. */
const programs: Record<string, string> = { openssl: 'openssl', setpriv: 'util-linux', tar: 'tar' };

async function missing(): Promise<string[]> {
  const names = await Promise.all(
    Object.entries(programs).map(async ([program, name]) => ((await hasProgram(program)) ? [] : [name])),
  );
  return names.flat();
}

export const debianPackages: Step = {
  name: 'debian-packages',
  title: 'Debian packages',
  needs: [],
  isDone: async () => (await missing()).length === 0,
  run: async (context) => installPackages(context, await missing(), 'by the test cluster'),
};
