/** The attachment pod: as restricted as a launcher's, on its node, with one claim and nothing else in it. */
import { ANNOTATION, LABEL, LAUNCHER_FINALIZER, MANAGED_BY } from '../../crds/api.ts';
import {
  ATTACHMENT_COMMAND,
  ATTACHMENT_CONTAINER,
  ATTACHMENT_PATH,
  ATTACHMENT_PORT,
  type AttachmentJob,
} from '../../crds/attachment.ts';
import { type MachineDisk, POD_PATH } from '../../crds/machine-description.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { Draft } from '../kube/object.ts';
import type { PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import { type Attached, configVolume, RESTRICTED_CONTAINER, RESTRICTED_POD } from '../kube/restricted-pod.ts';
import { attachmentName } from './attachments.ts';
import type { DiskBase } from './bases.ts';
import type { MachineDefaults } from './world.ts';

type PodSpec = NonNullable<Pod['spec']>;

/** What Node and qemu-storage-daemon have of their own together; the disk's data go past the page cache. */
const MEMORY_MIB = 96;
const CPU = '50m';
const RUN_MIB = 4;
/** Seconds beyond the guest's own: it may write until its end. */
const AFTER_THE_GUEST = 30;

export interface AttachmentInput {
  vm: VirtualMachine;
  launcher: Pod;
  incarnation: number;
  attempt: number;
  disk: MachineDisk;
  claim: PersistentVolumeClaim;
  base: DiskBase | undefined;
  graceSeconds: number;
  defaults: MachineDefaults;
}

export function attachmentPod(input: AttachmentInput): Draft<Pod> {
  const { vm, launcher, claim, disk, attempt, defaults } = input;
  const { imagePullSecrets, priorityClassName, schedulerName } = vm.spec.pod ?? {};
  const copied = { imagePullSecrets, priorityClassName, schedulerName };
  const { volumes, mounts, devices } = storage(input);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: launcher.metadata.namespace ?? '',
      name: attachmentName(launcher.metadata.name, disk.name, attempt),
      // None of the VM's own: a Service of the VM must not find this pod.
      labels: {
        [LABEL.attachment]: vm.metadata.name,
        [LABEL.incarnation]: String(input.incarnation),
        [LABEL.disk]: disk.name,
        [LABEL.attempt]: String(attempt),
        [LABEL.managedBy]: MANAGED_BY,
      },
      annotations: {
        [ANNOTATION.job]: JSON.stringify(jobOf(input)),
        [ANNOTATION.claimUid]: claim.metadata.uid,
      },
      finalizers: [LAUNCHER_FINALIZER],
      // The launcher pod, not the VM: a VM that is deleted writes to its disks until its guest has ended.
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Pod',
          name: launcher.metadata.name,
          uid: launcher.metadata.uid,
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      ...(Object.fromEntries(
        Object.entries(copied).filter(([, value]) => value !== undefined),
      ) as Partial<PodSpec>),
      // By the scheduler, which binds volumes: to the node of the launcher and to no other, whatever its taints.
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [
              {
                matchFields: [
                  { key: 'metadata.name', operator: 'In', values: [launcher.spec?.nodeName ?? ''] },
                ],
              },
            ],
          },
        },
      },
      tolerations: [{ operator: 'Exists' }],
      hostname: `${vm.metadata.name}-${disk.name}`.slice(0, 63).replace(/-+$/, ''),
      ...RESTRICTED_POD,
      terminationGracePeriodSeconds: input.graceSeconds + AFTER_THE_GUEST,
      containers: [
        {
          name: ATTACHMENT_CONTAINER,
          image: defaults.launcherImage,
          imagePullPolicy: defaults.launcherImagePullPolicy,
          command: [...ATTACHMENT_COMMAND],
          ports: [{ name: 'nbd', containerPort: ATTACHMENT_PORT, protocol: 'TCP' }],
          resources: { requests: { cpu: CPU, memory: `${MEMORY_MIB}Mi` } },
          securityContext: RESTRICTED_CONTAINER,
          terminationMessagePath: ATTACHMENT_PATH.terminationLog,
          volumeMounts: mounts,
          ...(devices.length > 0 ? { volumeDevices: devices } : {}),
        },
      ],
      volumes,
    },
  };
}

function jobOf({ vm, launcher, attempt, disk, defaults }: AttachmentInput): AttachmentJob {
  const { backend, ...rest } = disk;
  return {
    version: 1,
    vm: {
      namespace: launcher.metadata.namespace ?? '',
      name: vm.metadata.name,
      uid: vm.metadata.uid ?? '',
    },
    attempt,
    disk: backend === undefined ? rest : { ...rest, backend: alone(disk.name, backend) },
    ...(defaults.channel ? { channel: defaults.channel } : {}),
  };
}

/**
 * Without what concerns other disks of the VM: an image is mounted once for all disks on it in a launcher pod, and
 * copied into its disk by the launcher that has both, at the next start.
 */
function alone(disk: string, backend: NonNullable<MachineDisk['backend']>) {
  if ((backend.type !== 'file' && backend.type !== 'block') || backend.base === undefined) return backend;
  const { flatten: _, base, ...rest } = backend;
  const path =
    base.type === 'file'
      ? `${POD_PATH.bases}/${disk}/${base.path.slice(base.path.lastIndexOf('/') + 1)}`
      : `${POD_PATH.blockBases}/${disk}`;
  return { ...rest, base: { ...base, path } };
}

/** The claim, and the image below it, where a launcher has them. */
function storage({ disk, claim, base }: AttachmentInput): Attached {
  const attached: Attached = {
    volumes: [
      configVolume(ANNOTATION.job, 'job.json'),
      { name: 'run', emptyDir: { medium: 'Memory', sizeLimit: `${RUN_MIB}Mi` } },
    ],
    mounts: [
      { name: 'config', mountPath: ATTACHMENT_PATH.config, readOnly: true },
      { name: 'run', mountPath: ATTACHMENT_PATH.run },
    ],
    devices: [],
  };
  const bind = (name: string, of: PersistentVolumeClaim, folder: string, device: string, reads: boolean) => {
    const { name: claimName } = of.metadata;
    const block = of.spec?.volumeMode === 'Block';
    attached.volumes.push({
      name,
      persistentVolumeClaim: { claimName, ...(block && reads ? { readOnly: true } : {}) },
    });
    if (block) attached.devices.push({ name, devicePath: device });
    else attached.mounts.push({ name, mountPath: folder, ...(reads ? { readOnly: true } : {}) });
  };
  bind('disk', claim, `${POD_PATH.disks}/${disk.name}`, `${POD_PATH.blockDevices}/${disk.name}`, false);
  if (base) {
    bind('base', base.claim, `${POD_PATH.bases}/${disk.name}`, `${POD_PATH.blockBases}/${disk.name}`, true);
  }
  return attached;
}
