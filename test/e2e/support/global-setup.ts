import { installRelease } from './release.ts';

/** The chart of this checkout is installed before the first test; it stays, as the cluster does. */
export default async function setup(): Promise<void> {
  await installRelease((message) => console.log(`release: ${message}`));
}
