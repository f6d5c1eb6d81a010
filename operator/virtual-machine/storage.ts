/** Asks what the storage can do, and what it says of clones: only while a VM's disk is being made of an image. */
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { KubeClient } from '../kube/client.ts';
import { orNotFound } from '../kube/errors.ts';
import { events, type PersistentVolumeClaim, persistentvolumes, storageclasses } from '../kube/resources.ts';
import { neededClaims } from './claims.ts';
import { type Cloning, cloneRecordOf, isUnmade } from './cloning.ts';
import type { World } from './world.ts';

const IS_DEFAULT = 'storageclass.kubernetes.io/is-default-class';

export async function lookAtStorage(
  client: KubeClient,
  vm: VirtualMachine | undefined,
  claims: World['claims'],
  imageClaims: World['imageClaims'],
): Promise<Cloning> {
  const drivers = new Map<string, string>();
  const provisioners = new Map<string, string>();
  const failures = new Map<string, { words: string; since: number }>();
  for (const { name, fromImage } of vm ? neededClaims(vm) : []) {
    const claim = claims.get(name);
    if (claim && cloneRecordOf(claim) && isUnmade(claim)) {
      const failure = await failureOf(client, claim);
      if (failure) failures.set(name, failure);
    }
    if (claim || !fromImage || fromImage.source?.image?.clone === 'Linked') continue;
    for (const base of imageClaims.values()) {
      const volume = base.spec?.volumeName;
      const found = volume && (await orNotFound(client.get(persistentvolumes, { name: volume })));
      const driver = found ? found.spec?.csi?.driver : undefined;
      if (driver !== undefined) drivers.set(base.metadata.name, driver);
    }
    if (drivers.size === 0) continue;
    const className = fromImage.claim?.storageClassName ?? '';
    const provisioner = await provisionerOf(client, className);
    if (provisioner !== undefined) provisioners.set(className, provisioner);
  }
  return { drivers, provisioners, failures };
}

/** @param className '': the cluster's default */
async function provisionerOf(client: KubeClient, className: string): Promise<string | undefined> {
  if (className !== '')
    return (await orNotFound(client.get(storageclasses, { name: className })))?.provisioner;
  const time = (at: string | undefined) => Date.parse(at ?? '') || 0;
  // As Kubernetes chooses among several: the newest.
  return [...(await client.list(storageclasses))]
    .filter(({ metadata }) => metadata.annotations?.[IS_DEFAULT] === 'true')
    .sort((a, b) => time(b.metadata.creationTimestamp) - time(a.metadata.creationTimestamp))[0]?.provisioner;
}

async function failureOf(client: KubeClient, { metadata: { namespace, uid } }: PersistentVolumeClaim) {
  const said = await client.list(events, {
    ...(namespace === undefined ? {} : { namespace }),
    fieldSelector: `involvedObject.uid=${uid},reason=ProvisioningFailed`,
  });
  const [last] = said.slice(-1);
  if (last === undefined) return undefined;
  const times = said.map((each) =>
    Date.parse(each.firstTimestamp ?? each.eventTime ?? each.metadata.creationTimestamp ?? ''),
  );
  return { words: last.message ?? '', since: Math.min(...times.filter((each) => !Number.isNaN(each))) };
}
