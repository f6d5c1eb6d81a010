/** The mover pod: as restricted as a launcher's, without API credentials, and nothing in it but its image. */
import { ANNOTATION, API_VERSION, LABEL, LAUNCHER_FINALIZER, MANAGED_BY } from '../../crds/api.ts';
import { MOVER_COMMAND, MOVER_MEMORY_MIB, MOVER_PATH } from '../../crds/mover.ts';
import type { VirtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { Draft } from '../kube/object.ts';
import type { PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import {
  type Attached,
  configVolume,
  RESTRICTED_CONTAINER,
  RESTRICTED_POD,
  type Volume,
} from '../kube/restricted-pod.ts';
import { MOVER_CONTAINER } from './attempts.ts';
import { isBlock, moverJobOf } from './job.ts';
import { moverPodName } from './names.ts';
import type { ImageWorld } from './world.ts';

const CPU = '100m';
/** Room of /tmp, on disk. */
const SCRATCH = '64Mi';
/** Seconds that a mover has to write down how far it is. */
const GRACE_SECONDS = 10;

export function moverPod(
  world: ImageWorld,
  image: VirtualMachineImage,
  /** Absent: it only looks at the source. */
  claim: PersistentVolumeClaim | undefined,
  attempt: number,
): Draft<Pod> {
  const { namespace, name, defaults } = world;
  const { volumes, mounts, devices } = attach(world, image, claim);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace,
      name: moverPodName(name, attempt),
      labels: {
        [LABEL.image]: name,
        [LABEL.attempt]: String(attempt),
        [LABEL.managedBy]: MANAGED_BY,
      },
      annotations: {
        [ANNOTATION.job]: JSON.stringify(moverJobOf(world, image, claim, attempt)),
        [ANNOTATION.generation]: String(image.metadata.generation ?? 1),
        ...(claim ? { [ANNOTATION.claimUid]: claim.metadata.uid } : {}),
      },
      finalizers: [LAUNCHER_FINALIZER],
      ownerReferences: [
        {
          apiVersion: API_VERSION,
          kind: 'VirtualMachineImage',
          name,
          uid: image.metadata.uid ?? '',
          controller: true,
          // The pod's finalizer, not the image's deletion, waits for its end.
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      ...RESTRICTED_POD,
      ...nearSource(world),
      terminationGracePeriodSeconds: GRACE_SECONDS,
      containers: [
        {
          name: MOVER_CONTAINER,
          image: defaults.launcherImage,
          imagePullPolicy: defaults.launcherImagePullPolicy,
          command: [...MOVER_COMMAND],
          resources: { requests: { cpu: CPU, memory: `${MOVER_MEMORY_MIB}Mi` } },
          securityContext: RESTRICTED_CONTAINER,
          terminationMessagePath: MOVER_PATH.terminationLog,
          volumeMounts: mounts,
          ...(devices.length > 0 ? { volumeDevices: devices } : {}),
        },
      ],
      volumes,
    },
  };
}

/** A claim that one node mounts at a time is mounted where the VM of the snapshot runs. */
function nearSource({ snapshot }: ImageWorld): Pick<NonNullable<Pod['spec']>, 'affinity'> {
  if (!snapshot) return {};
  const labelSelector = { matchLabels: { [LABEL.vm]: snapshot.spec.virtualMachine } };
  const podAffinityTerm = { labelSelector, topologyKey: 'kubernetes.io/hostname' };
  return {
    affinity: {
      podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm }] },
    },
  };
}

function attach(
  { sourceClaim }: ImageWorld,
  { spec }: VirtualMachineImage,
  target: PersistentVolumeClaim | undefined,
): Attached {
  const attached: Attached = { volumes: [], mounts: [], devices: [] };
  const mount = (volume: Volume, mountPath: string, readOnly: boolean): void => {
    attached.volumes.push(volume);
    attached.mounts.push({ name: volume.name, mountPath, ...(readOnly ? { readOnly } : {}) });
  };
  mount(configVolume(ANNOTATION.job, 'job.json'), MOVER_PATH.config, true);
  mount({ name: 'tmp', emptyDir: { sizeLimit: SCRATCH } }, '/tmp', false);
  const bind = (
    name: string,
    claim: PersistentVolumeClaim,
    path: string,
    device: string,
    readOnly: boolean,
  ) => {
    const { name: claimName } = claim.metadata;
    if (!isBlock(claim)) {
      mount({ name, persistentVolumeClaim: { claimName } }, path, readOnly);
      return;
    }
    attached.volumes.push({ name, persistentVolumeClaim: { claimName, ...(readOnly ? { readOnly } : {}) } });
    attached.devices.push({ name, devicePath: device });
  };
  if (target) bind('target', target, MOVER_PATH.target, MOVER_PATH.blockTarget, false);
  const { http, containerImage, claim } = spec.source;
  if (http?.secretRef) {
    mount(
      { name: 'source-secret', secret: { secretName: http.secretRef.name } },
      MOVER_PATH.sourceSecret,
      true,
    );
  }
  if (http?.caConfigMapRef) {
    mount({ name: 'source-ca', configMap: { name: http.caConfigMapRef.name } }, MOVER_PATH.sourceCa, true);
  }
  if (containerImage) {
    const { image: reference, pullPolicy } = containerImage;
    const source = { reference, ...(pullPolicy === undefined ? {} : { pullPolicy }) };
    mount({ name: 'source-image', image: source }, MOVER_PATH.sourceImage, true);
  }
  if ((claim || spec.source.snapshot) && sourceClaim)
    bind('source', sourceClaim, MOVER_PATH.source, MOVER_PATH.blockSource, true);
  return attached;
}
