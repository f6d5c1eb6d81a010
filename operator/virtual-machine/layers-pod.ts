/** The pod that looks after the layers of a VM that is off: a launcher's, with its claims and without its guest. */
import { LABEL } from '../../crds/api.ts';
import type { Draft } from '../kube/object.ts';
import type { Pod } from '../kube/resources.ts';
import { launcherPod, type PodInput } from './pod.ts';

/** A launcher without QEMU; no limit, as hashing fills no memory. */
const REQUESTS = { cpu: '50m', memory: '96Mi' };
const WITHOUT_GUEST = new Set(['config', 'run', 'scratch', 'state']);

export function layersPod(input: PodInput): Draft<Pod> {
  const pod = launcherPod(input);
  const { spec, metadata } = pod;
  const [container] = spec?.containers ?? [];
  if (spec === undefined || container === undefined) return pod;
  const { ports: _ports, volumeDevices: _devices, ...rest } = container;
  const devices = new Set(container.volumeDevices?.map(({ name }) => name));
  const volumes = spec.volumes?.filter(
    ({ name, persistentVolumeClaim }) =>
      WITHOUT_GUEST.has(name) ||
      (name.startsWith('disk-') && persistentVolumeClaim !== undefined && !devices.has(name)),
  );
  const there = new Set(volumes?.map(({ name }) => name));
  const { vm, incarnation, managedBy } = LABEL;
  const labels = [vm, incarnation, managedBy].map((name) => [name, metadata.labels?.[name] ?? '']);
  return {
    ...pod,
    // Without the labels of the VM: its Services lead to a guest.
    metadata: { ...metadata, labels: { ...Object.fromEntries(labels), [LABEL.task]: 'layers' } },
    spec: {
      ...spec,
      containers: [
        {
          ...rest,
          resources: { requests: REQUESTS },
          volumeMounts: container.volumeMounts?.filter(({ name }) => there.has(name)) ?? [],
        },
      ],
      volumes: volumes ?? [],
    },
  };
}
