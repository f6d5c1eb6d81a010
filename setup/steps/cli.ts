import { buildPackage, isBuilt, packageFolder } from '../../cli/package/build.ts';
import type { Step } from './step.ts';

let built = false;

/** kubectl-vm and vmstead, bundled: they run without it too, but start several times slower. */
export const cli: Step = {
  name: 'cli',
  title: 'kubectl-vm and vmstead',
  needs: [],
  // A source that is edited meanwhile makes it stale at once, which is no failure.
  isDone: async () => built || (await isBuilt()),
  async run() {
    await buildPackage(packageFolder);
    built = true;
  },
};
