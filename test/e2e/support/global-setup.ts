import { startCsi } from '../../cluster/csi.ts';
import { installRelease } from './release.ts';

/**
 * The chart of this checkout is installed before the first test; it stays, as the cluster does. So is class `csi`
 * there: files run side by side, and two that start it would be in each other's way.
 */
export default async function setup(): Promise<void> {
  const { cluster } = await installRelease((message) => console.log(`release: ${message}`));
  if (cluster.controlPlane) await startCsi(cluster);
}
