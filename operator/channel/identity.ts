import { LABEL, TOKEN_AUDIENCE } from '../../crds/api.ts';
import type { KubeClient } from '../kube/client.ts';
import { orNotFound } from '../kube/errors.ts';
import { keyOf } from '../kube/object.ts';
import { type Pod, pods, tokenreviews } from '../kube/resources.ts';

/** The pod that a token was issued to, in the API server's words: nothing here comes from the launcher's own. */
export interface PodIdentity {
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
}

/** A pod that we made as a launcher. */
export interface LauncherIdentity extends PodIdentity {
  /** Name of its VirtualMachine, in the same namespace. */
  readonly vm: string;
}

/** A pod that we made as a mover. */
export interface MoverIdentity extends PodIdentity {
  /** Name of its VirtualMachineImage, in the same namespace. */
  readonly image: string;
}

/** A pod that we made as the attachment of a disk. */
export interface AttachmentIdentity extends PodIdentity {
  /** Name of the VirtualMachine whose disk it exports, in the same namespace. */
  readonly vm: string;
}

export type TokenVerdict = { readonly pod: PodIdentity } | { readonly refused: string };

const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):[^:]+$/;

/** Asks the API server whose token it is; throws when it cannot be asked. */
export async function reviewToken(client: KubeClient, token: string): Promise<TokenVerdict> {
  const review = await client.create(
    tokenreviews,
    { metadata: {}, spec: { token, audiences: [TOKEN_AUDIENCE] } },
    { deadlineMs: 5_000 },
  );
  const { authenticated, audiences = [], user, error } = review.status ?? {};
  if (authenticated !== true) return { refused: error || 'the token is not valid' };
  // A server that does not know audiences answers without them: then the token was checked for another one.
  if (!audiences.includes(TOKEN_AUDIENCE))
    return { refused: `the token's audience is not ${TOKEN_AUDIENCE}` };
  const namespace = SERVICE_ACCOUNT.exec(user?.username ?? '')?.[1];
  const podName = user?.extra?.[POD_NAME]?.[0];
  const podUid = user?.extra?.[POD_UID]?.[0];
  if (!namespace || !podName || !podUid) return { refused: 'the token is not bound to a pod' };
  return { pod: { namespace, podName, podUid } };
}

/**
 * What a token says about itself, unchecked. Good for one thing only: to tell the bearer of a token that is
 * refused because its pod is gone that the pod is gone, which anybody may know.
 */
export function claimedPod(token: string): PodIdentity | undefined {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const claims = (payload as Record<string, unknown>)['kubernetes.io'] as {
      namespace?: unknown;
      pod?: { name?: unknown; uid?: unknown };
    };
    const { namespace, pod } = claims;
    const { name, uid } = pod ?? {};
    if (typeof namespace !== 'string' || typeof name !== 'string' || typeof uid !== 'string')
      return undefined;
    return { namespace, podName: name, podUid: uid };
  } catch {
    return undefined;
  }
}

export type Authorization =
  | { readonly launcher: LauncherIdentity }
  | { readonly mover: MoverIdentity }
  | { readonly attachment: AttachmentIdentity }
  /** The pod object is gone, or another one has its name: proved by a live read. */
  | { readonly gone: string }
  | { readonly stranger: string };

/** Decides whether a pod is a launcher, a mover or an attachment of ours; throws when the API server cannot be asked. */
export type Authorize = (pod: PodIdentity) => Promise<Authorization>;

/** Looks into the cache first and asks the API server about whatever is not there. */
export function authorizer(client: KubeClient, cached: (key: string) => Pod | undefined): Authorize {
  return async (identity) => {
    const ref = { namespace: identity.namespace, name: identity.podName };
    const known = cached(keyOf(ref));
    const pod =
      known?.metadata.uid === identity.podUid
        ? known
        : await orNotFound(client.get(pods, ref, { deadlineMs: 5_000 }));
    if (pod === undefined) return { gone: `pod ${keyOf(ref)} does not exist any more` };
    if (pod.metadata.uid !== identity.podUid) {
      return {
        gone: `pod ${keyOf(ref)} is another one by now (UID ${pod.metadata.uid}, not ${identity.podUid})`,
      };
    }
    const vm = pod.metadata.labels?.[LABEL.vm];
    const image = pod.metadata.labels?.[LABEL.image];
    const controlledBy = (kind: string) =>
      pod.metadata.ownerReferences?.some((owner) => owner.controller && owner.kind === kind);
    if (vm && controlledBy('VirtualMachine')) return { launcher: { ...identity, vm } };
    if (image && controlledBy('VirtualMachineImage')) return { mover: { ...identity, image } };
    const attached = pod.metadata.labels?.[LABEL.attachment];
    if (attached && controlledBy('Pod')) return { attachment: { ...identity, vm: attached } };
    return { stranger: `pod ${keyOf(ref)} is not a launcher of a VirtualMachine` };
  };
}
