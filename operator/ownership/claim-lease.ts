/**
 * Who owns a claim: one Lease for each, named by the claim's UID, held by a launcher pod. It is taken before
 * the pod is created and given back only on proof that the launcher ended.
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
