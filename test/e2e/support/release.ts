/** The system under test: the chart, installed on the tests' cluster with the images of this checkout. */
import { buildImages, type Images } from '../../../images/build.ts';
import { buildTinyGuest } from '../../../images/guests/build.ts';
import { deploy, exampleGuest, pushedImages } from '../../../setup/deploy.ts';
import { cacheDirectory } from '../../../setup/paths.ts';
import { type Cluster, clusterSource, testClusterProvider } from '../../cluster/index.ts';

/** On a cluster of a person's own the images come from the registry that they were pushed to. */
const pushed = clusterSource() === 'own' ? await pushedImages() : undefined;

/** The tiny guest: its kernel and initrd, as an OCI image. */
export const tinyImage = pushed?.guest ?? exampleGuest;

/** Builds what changed, loads it and installs the chart; quick when all of it is there. */
export async function installRelease(
  report: (message: string) => void = () => {},
  values: readonly string[] = [],
): Promise<{ cluster: Cluster; images: Images }> {
  const cluster = await testClusterProvider().ensure(report);
  const images = pushed?.images ?? (await buildImages({ report }));
  if (!pushed) await buildTinyGuest(cacheDirectory, report);
  await cluster.loadImages([...Object.values(images), tinyImage]);
  report('installing the chart');
  await deploy(cluster.kubeconfigPath, images, values);
  return { cluster, images };
}
