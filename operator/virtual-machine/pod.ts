/** The launcher pod: restricted, without API credentials, and nothing in it but its VM. */
import {
  ANNOTATION,
  API_VERSION,
  KVM_RESOURCE,
  LABEL,
  LAUNCHER_FINALIZER,
  MANAGED_BY,
} from '../../crds/api.ts';
import { EXPORT_ROOM_MIB, type MachineDescription, POD_PATH } from '../../crds/machine-description.ts';
import { parseBytes } from '../../crds/quantity.ts';
import type { DiskSpec, VirtualMachine } from '../../crds/virtual-machine.ts';
import type { Draft } from '../kube/object.ts';
import type { Pod } from '../kube/resources.ts';
import {
  type Attached,
  configVolume,
  RESTRICTED_CONTAINER,
  RESTRICTED_POD,
  type Volume,
} from '../kube/restricted-pod.ts';
import { DEFAULT_OVERLAY, type DiskClaim, METRICS_PORT } from './machine.ts';
import { podName, stateClaimName } from './names.ts';
import { claimOf, type Resolved } from './resolve.ts';

type PodSpec = NonNullable<Pod['spec']>;

export interface PodInput {
  vm: VirtualMachine;
  namespace: string;
  description: MachineDescription;
  resolved: Resolved;
  claims: ReadonlyMap<string, DiskClaim>;
  image: string;
  imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
}

/** Room beside the overlays on the scratch volume: the serial log and its rotation. */
const SCRATCH_MIB = 64;
/** tmpfs of sockets, pid files and the NoCloud seed; its pages count as the pod's memory. */
const RUN_MIB = 16;
/** Room on it for each disk that is made of files: the launcher's own bound for one. */
const FILES_MIB = 4;
const CPU_PER_VCPU_MILLIS = 100;
const MIB = 1024n * 1024n;

export function launcherPod(input: PodInput): Draft<Pod> {
  const { vm, description, resolved } = input;
  const template = vm.spec.pod ?? {};
  const attached = attach(input);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: input.namespace,
      name: podName(vm.metadata.name, description.incarnation),
      labels: {
        ...vm.metadata.labels,
        ...template.labels,
        [LABEL.vm]: vm.metadata.name,
        [LABEL.incarnation]: String(description.incarnation),
        [LABEL.managedBy]: MANAGED_BY,
      },
      annotations: { ...template.annotations, [ANNOTATION.machine]: JSON.stringify(description) },
      finalizers: [LAUNCHER_FINALIZER],
      ownerReferences: [
        {
          apiVersion: API_VERSION,
          kind: 'VirtualMachine',
          name: vm.metadata.name,
          uid: vm.metadata.uid ?? '',
          controller: true,
          // The VM may be gone before its pod: the pod's finalizer, not the VM's, waits for the end.
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      ...scheduling(template),
      hostname: vm.metadata.name,
      ...RESTRICTED_POD,
      // With 0 the kubelet would not wait for the end of the processes before it says that they ended.
      terminationGracePeriodSeconds: Math.max(1, resolved.graceSeconds),
      securityContext: {
        ...RESTRICTED_POD.securityContext,
        sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }],
      },
      containers: [
        {
          name: 'launcher',
          image: input.image,
          imagePullPolicy: input.imagePullPolicy,
          command: ['/usr/bin/tini', '--', '/usr/lib/vmstead/supervise'],
          ports: containerPorts(description),
          resources: podResources(input),
          securityContext: RESTRICTED_CONTAINER,
          terminationMessagePath: POD_PATH.terminationLog,
          volumeMounts: attached.mounts,
          ...(attached.devices.length > 0 ? { volumeDevices: attached.devices } : {}),
        },
      ],
      volumes: attached.volumes,
    },
  };
}

/**
 * A node that falls silent keeps its pods: their QEMUs most likely run on, and without a fence they could
 * not be started elsewhere anyway.
 */
const STAY_ON_SILENT_NODES = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'].map(
  (key) => ({
    key,
    operator: 'Exists',
    effect: 'NoExecute',
  }),
);

function scheduling(template: NonNullable<VirtualMachine['spec']['pod']>): Partial<PodSpec> {
  const { labels: _labels, annotations: _annotations, tolerations = [], ...rest } = template;
  return {
    ...(rest as Partial<PodSpec>),
    tolerations: [...tolerations, ...STAY_ON_SILENT_NODES] as PodSpec['tolerations'] & {},
  };
}

function containerPorts(description: MachineDescription) {
  const guest = description.networks.flatMap(({ ports }) =>
    ports.map(({ port, protocol }) => ({ containerPort: port, protocol })),
  );
  return [{ name: 'metrics', containerPort: METRICS_PORT, protocol: 'TCP' }, ...guest];
}

function podResources({ vm, resolved }: PodInput) {
  const { requests, limits } = vm.spec.resources ?? {};
  const device: Record<string, string> = resolved.accelerator === 'kvm' ? { [KVM_RESOURCE]: '1' } : {};
  const computed: Record<string, string> = {
    cpu: `${resolved.vcpus * CPU_PER_VCPU_MILLIS}m`,
    memory: `${resolved.memoryMiB + resolved.memoryOverheadMiB}Mi`,
  };
  const allLimits = { ...given(limits), ...device };
  return {
    requests: { ...computed, ...given(requests), ...device },
    ...(Object.keys(allLimits).length > 0 ? { limits: allLimits } : {}),
  };
}

function given(
  list: { cpu?: string | undefined; memory?: string | undefined } | undefined,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(list ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function attach(input: PodInput): Attached {
  const { vm } = input;
  const attached: Attached = { volumes: [], mounts: [], devices: [] };
  const mount = (volume: Volume, path: string, readOnly = false): void => {
    attached.volumes.push(volume);
    attached.mounts.push({ name: volume.name, mountPath: path, ...(readOnly ? { readOnly } : {}) });
  };
  mount(configVolume(ANNOTATION.machine, 'machine.json'), POD_PATH.config, true);
  const runMiB = RUN_MIB + FILES_MIB * (vm.spec.disks ?? []).filter((disk) => filesVolume(disk)).length;
  mount({ name: 'run', emptyDir: { medium: 'Memory', sizeLimit: `${runMiB}Mi` } }, POD_PATH.run);
  mount(
    { name: 'scratch', emptyDir: { sizeLimit: `${scratchMiB(vm.spec.disks ?? [])}Mi` } },
    POD_PATH.scratch,
  );
  if (vm.spec.kernel) {
    const { image, pullPolicy } = vm.spec.kernel;
    mount(imageVolume('kernel', image, pullPolicy), POD_PATH.kernel, true);
  }
  if (vm.spec.state) {
    mount(
      { name: 'state', persistentVolumeClaim: { claimName: stateClaimName(vm.metadata.name) } },
      POD_PATH.state,
    );
  }
  for (const disk of vm.spec.disks ?? []) attachDisk(input, disk, attached, mount);
  const { userDataSecretRef, networkDataSecretRef } = vm.spec.cloudInit ?? {};
  if (userDataSecretRef)
    mount(secretVolume('cloud-init-user', userDataSecretRef.name), POD_PATH.userData, true);
  if (networkDataSecretRef)
    mount(secretVolume('cloud-init-network', networkDataSecretRef.name), POD_PATH.networkData, true);
  return attached;
}

function attachDisk(
  { vm, claims }: PodInput,
  disk: DiskSpec,
  attached: Attached,
  mount: (volume: Volume, path: string, readOnly?: boolean) => void,
): void {
  const volumeName = `disk-${disk.name}`;
  const containerImage = disk.source?.containerImage;
  if (containerImage) {
    mount(
      imageVolume(volumeName, containerImage.image, containerImage.pullPolicy),
      `${POD_PATH.images}/${disk.name}`,
      true,
    );
    return;
  }
  const files = filesVolume(disk);
  if (files) {
    mount({ name: volumeName, ...files }, `${POD_PATH.files}/${disk.name}`, true);
    return;
  }
  attachBase(disk, claims, attached, mount);
  const name = claimOf(vm.metadata.name, disk);
  if (name === undefined) return;
  const isRead = disk.source?.ephemeral !== undefined;
  if (claims.get(disk.name)?.volumeMode === 'Block') {
    const readOnly = isRead ? { readOnly: true } : {};
    attached.volumes.push({
      name: volumeName,
      persistentVolumeClaim: { claimName: name, ...readOnly },
    });
    attached.devices.push({ name: volumeName, devicePath: `${POD_PATH.blockDevices}/${disk.name}` });
  } else {
    const volume: Volume = { name: volumeName, persistentVolumeClaim: { claimName: name } };
    mount(volume, `${POD_PATH.disks}/${disk.name}`, isRead);
  }
}

/** What the kubelet makes files of, for a disk that the launcher makes of files. */
function filesVolume({ source }: DiskSpec): Omit<Volume, 'name'> | undefined {
  const { configMap, secret, downwardAPI, sysprep } = source ?? {};
  const maybe = (optional: boolean | undefined) => (optional ? { optional } : {});
  const map = configMap ?? sysprep?.configMap;
  if (map) return { configMap: { name: map.name, ...maybe(configMap?.optional) } };
  const secretName = secret?.secretName ?? sysprep?.secret?.name;
  if (secretName !== undefined) return { secret: { secretName, ...maybe(secret?.optional) } };
  if (!downwardAPI) return undefined;
  return { downwardAPI: { items: downwardAPI.fields.map(({ path, fieldRef }) => ({ path, fieldRef })) } };
}

/** The image that the disk needs, read-only, once for all disks that are made from it. */
function attachBase(
  disk: DiskSpec,
  claims: PodInput['claims'],
  attached: Attached,
  mount: (volume: Volume, path: string, readOnly?: boolean) => void,
): void {
  const base = claims.get(disk.name)?.base;
  if (base === undefined || base.mount !== disk.name) return;
  const name = `base-${disk.name}`;
  const { claimName } = base;
  if (base.volumeMode === 'Block') {
    attached.volumes.push({ name, persistentVolumeClaim: { claimName, readOnly: true } });
    attached.devices.push({ name, devicePath: `${POD_PATH.blockBases}/${disk.name}` });
  } else {
    mount({ name, persistentVolumeClaim: { claimName } }, `${POD_PATH.bases}/${disk.name}`, true);
  }
}

function imageVolume(name: string, reference: string, pullPolicy: string | undefined): Volume {
  return { name, image: { reference, ...(pullPolicy === undefined ? {} : { pullPolicy }) } };
}

function secretVolume(name: string, secretName: string): Volume {
  return { name, secret: { secretName } };
}

function scratchMiB(disks: readonly DiskSpec[]): number {
  const overlays = disks.map(({ source }) => {
    const throwAway = source?.containerImage ?? source?.ephemeral;
    return throwAway ? parseBytes(throwAway.overlaySize ?? DEFAULT_OVERLAY) : 0n;
  });
  // A qcow2 file holds its own tables beside the data: a thousandth, and a little for small ones.
  const bytes = overlays.reduce((sum, each) => sum + each + each / 1000n + (each > 0n ? 4n * MIB : 0n), 0n);
  // As much again as a two-thousandth for the tables of an export's file.
  return Number((bytes + MIB - 1n) / MIB) + SCRATCH_MIB + EXPORT_ROOM_MIB + 8;
}
