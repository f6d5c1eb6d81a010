/**
 * Who owns a claim: one Lease for each, named by the claim's UID, held by a launcher pod, or by several where all
 * of them use the claim in the same way that allows others. It is taken before the pod is created and given back
 * only on proof that the launcher ended.
 */
import { LABEL, MANAGED_BY } from '../../crds/api.ts';
import type { Draft } from '../kube/object.ts';
import type { Lease, PersistentVolumeClaim } from '../kube/resources.ts';

/**
 * Milliseconds after which a lease whose holder has no pod object may be taken. The holder's operator may
 * just be about to create that pod: it may write for 30 s after it was last seen to lead, and a request of its
 * ends 30 s later. As much again for what a network holds back.
 */
export const ORPHAN_AFTER = 120_000;

const leaseName = (claimUid: string): string => `vmstead-claim-${claimUid}`;

/** The claim's UID in the name of a lease. */
export const claimUidOf = (lease: Lease): string => lease.metadata.name.slice(leaseName('').length);

/** Exclusive: one launcher. Shared: any number, all of which may write. ReadOnly: any number, none of which writes. */
export type ClaimUse = 'Exclusive' | 'Shared' | 'ReadOnly';

/** How the holders of a lease use its claim. */
export function useOf({ metadata }: Lease): ClaimUse {
  const use = metadata.labels?.[LABEL.use];
  return use === 'Shared' || use === 'ReadOnly' ? use : 'Exclusive';
}

/** No name of a pod has a comma. */
const SEPARATOR = ',';

/** Names of the pods that hold a lease. */
export function holdersOf({ spec }: Lease): string[] {
  return spec?.holderIdentity ? spec.holderIdentity.split(SEPARATOR) : [];
}

/** Names of the VMs whose launchers hold a lease; of one that several hold by the names of their pods. */
export function vmsOfLease(lease: Lease): string[] {
  const { [LABEL.vm]: vm } = lease.metadata.labels ?? {};
  if (useOf(lease) === 'Exclusive') return vm === undefined ? [] : [vm];
  return [...new Set(holdersOf(lease).map(vmOfLauncher))];
}

/** Name of the VM in the name of a launcher pod. */
export const vmOfLauncher = (pod: string): string => /^vm-(.+)-[0-9]+$/.exec(pod)?.[1] ?? '';

/** A lease that several launchers hold, with these holders. */
export function draftCommonLease(
  claim: PersistentVolumeClaim,
  use: Exclude<ClaimUse, 'Exclusive'>,
  holders: readonly string[],
  now: number,
): Draft<Lease> {
  return draftLease(claim, { [LABEL.use]: use }, holders.join(SEPARATOR), now);
}

/** What is left of a lease without some of its holders; nothing where it is to be deleted. */
export function leaseWithout(lease: Lease, gone: readonly string[]): Lease | undefined {
  const left = holdersOf(lease).filter((holder) => !gone.includes(holder));
  return left.length === 0
    ? undefined
    : { ...lease, spec: { ...lease.spec, holderIdentity: left.join(SEPARATOR) } };
}

/** One holder of a lease, as `podless` tells of it: a lease that one launcher holds by its own name. */
export const holderKey = (lease: Lease, holder: string): string =>
  useOf(lease) === 'Exclusive' ? lease.metadata.name : `${lease.metadata.name}/${holder}`;

/** @param owner the label that names the VM or image that the holder works for */
export function draftLease(
  claim: PersistentVolumeClaim,
  owner: Readonly<Record<string, string>>,
  holder: string,
  now: number,
): Draft<Lease> {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      namespace: claim.metadata.namespace ?? '',
      name: leaseName(claim.metadata.uid),
      labels: { [LABEL.managedBy]: MANAGED_BY, ...owner },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          name: claim.metadata.name,
          uid: claim.metadata.uid,
        },
      ],
    },
    spec: { holderIdentity: holder, acquireTime: microTime(now) },
  };
}

/** `metav1.MicroTime`. */
const microTime = (now: number): string => new Date(now).toISOString().replace('Z', '000Z');

/** How old a lease is, in milliseconds. */
export function leaseAge(lease: Lease, now: number): number {
  return now - Date.parse(lease.spec?.acquireTime ?? lease.metadata.creationTimestamp ?? '');
}
