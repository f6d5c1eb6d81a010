/** Reads what a guest left on the volume of a claim, on its node, and judges it. */
import { gunzipSync } from 'node:zlib';
import type { KubeClient } from '../../../operator/kube/client.ts';
import { persistentvolumeclaims, persistentvolumes } from '../../../operator/kube/resources.ts';
import type { Cluster } from '../../cluster/index.ts';
import {
  judge,
  parseAcknowledgements,
  parseRing,
  type SectorRing,
  SLOT_BYTES,
} from '../../guests/sectors.ts';

/** Slots of the test guests' rings, with one spare. */
const BYTES = 513 * SLOT_BYTES;

/** Where a claim's volume is: a folder or a device on one of the nodes. */
async function volumeOf(client: KubeClient, namespace: string, claim: string) {
  const { spec } = await client.get(persistentvolumeclaims, { namespace, name: claim });
  const volume = await client.get(persistentvolumes, { name: spec?.volumeName ?? '' });
  const path = volume.spec?.local?.path ?? volume.spec?.hostPath?.path;
  if (path === undefined) throw new Error(`volume ${volume.metadata.name} of ${claim} has no path on a node`);
  const terms = volume.spec?.nodeAffinity?.required?.nodeSelectorTerms;
  return { path, node: terms?.[0]?.matchExpressions?.[0]?.values?.[0], block: spec?.volumeMode === 'Block' };
}

export async function ringOf(
  cluster: Cluster,
  client: KubeClient,
  namespace: string,
  claim: string,
): Promise<SectorRing> {
  const volume = await volumeOf(client, namespace, claim);
  const node = volume.node === undefined ? cluster.nodes[0]! : cluster.node(volume.node);
  const file = volume.block ? volume.path : `${volume.path}/disk.img`;
  const { stdout, stderr, exitCode } = await node.exec(
    `set -o pipefail; head -c ${BYTES} ${file} | gzip -1 | base64`,
  );
  if (exitCode !== 0) throw new Error(`cannot read ${file} on ${node.name}: ${stderr}`);
  return parseRing(gunzipSync(Buffer.from(stdout, 'base64')));
}

/** What is wrong with the disk of a claim, judged with all that its guests said; nothing is. */
export async function judgeClaim(
  cluster: Cluster,
  client: KubeClient,
  namespace: string,
  claim: string,
  log: string,
): Promise<string[]> {
  return judge(await ringOf(cluster, client, namespace, claim), parseAcknowledgements(log));
}
