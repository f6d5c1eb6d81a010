/** What each pod of ours is beside its work: `restricted`, without API credentials, and QEMU's user in it. */
import { LAUNCHER_UID, TOKEN_AUDIENCE } from '../../crds/api.ts';
import type { Pod } from './resources.ts';

type PodSpec = NonNullable<Pod['spec']>;
type Container = PodSpec['containers'][number];
export type Volume = NonNullable<PodSpec['volumes']>[number];
type Mount = NonNullable<Container['volumeMounts']>[number];
type Device = NonNullable<Container['volumeDevices']>[number];

/** Volumes, and where the pod's one container has them. */
export interface Attached {
  volumes: Volume[];
  mounts: Mount[];
  devices: Device[];
}

export const RESTRICTED_POD = {
  restartPolicy: 'Never',
  automountServiceAccountToken: false,
  serviceAccountName: 'default',
  enableServiceLinks: false,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: LAUNCHER_UID,
    runAsGroup: LAUNCHER_UID,
    fsGroup: LAUNCHER_UID,
    fsGroupChangePolicy: 'OnRootMismatch',
    seccompProfile: { type: 'RuntimeDefault' },
  },
} satisfies Partial<PodSpec>;

/** `securityContext` of its container. */
export const RESTRICTED_CONTAINER = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
} satisfies Container['securityContext'];

/**
 * The pod's own annotation as a file, and the token for the channel: one volume for both, as each volume costs the
 * kubelet time before the container starts.
 */
export function configVolume(annotation: string, path: string): Volume {
  const fieldRef = { fieldPath: `metadata.annotations['${annotation}']` };
  return {
    name: 'config',
    projected: {
      sources: [
        { downwardAPI: { items: [{ path, fieldRef }] } },
        { serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: 3600, path: 'token' } },
      ],
    },
  };
}
