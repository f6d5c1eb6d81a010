import { type StoredImage, virtualmachineimages } from '../../operator/image/resources.ts';
import { isNotFound } from '../../operator/kube/errors.ts';
import type { Cluster } from '../cluster.ts';

/** Nothing where there is none. */
export async function findImage(
  { client, namespace }: Cluster,
  name: string,
): Promise<StoredImage | undefined> {
  try {
    return await client.get(virtualmachineimages, { namespace, name });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
