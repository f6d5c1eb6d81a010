import { hasProgram, installPackages, isRoot } from './packages.ts';
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

/** The shells of which the completion is tested. */
export const shells: Step = {
  name: 'shells',
  title: 'zsh and fish',
  needs: [],
  // Without root their tests are skipped: nothing else needs them.
  isDone: async () => !isRoot() || ((await hasProgram('zsh')) && (await hasProgram('fish'))),
  run: (context) => installPackages(context, ['zsh', 'fish', 'bash-completion'], 'by tests of completion'),
};
