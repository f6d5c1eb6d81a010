import { buildFullGuest, buildTinyGuest, hasGuest } from '../../images/guests/build.ts';
import { cacheDirectory } from '../paths.ts';
import type { Step, StepContext } from './step.ts';

const report =
  (context: StepContext) =>
  (message: string): void => {
    context.log(message);
    context.progress(undefined, message);
  };

/** The guest of examples/vm.yaml and of most tests. */
export const tinyGuest: Step = {
  name: 'guest-tiny',
  title: 'Tiny guest (kernel and initrd)',
  needs: ['base-image'],
  lane: 'guests',
  isDone: () => hasGuest('tiny', cacheDirectory),
  async run(context) {
    await buildTinyGuest(cacheDirectory, report(context));
  },
};

/** The Debian that proves cloud-init, the guest agent and UEFI. */
export const fullGuest: Step = {
  name: 'guest-full',
  title: 'Full guest (Debian disk)',
  needs: ['base-image'],
  lane: 'guests',
  isDone: () => hasGuest('full', cacheDirectory),
  async run(context) {
    await buildFullGuest(cacheDirectory, report(context));
  },
};
