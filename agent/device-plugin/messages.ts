/**
 * The kubelet's device plugin API, v1beta1, as far as a plugin of ours uses it.
 * Source: https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/
 */
import { bytesOf, fields, message, messageField, stringField } from '../grpc/protobuf.ts';

export const METHOD = {
  register: '/v1beta1.Registration/Register',
  options: '/v1beta1.DevicePlugin/GetDevicePluginOptions',
  listAndWatch: '/v1beta1.DevicePlugin/ListAndWatch',
  allocate: '/v1beta1.DevicePlugin/Allocate',
} as const;

/** `RegisterRequest`. @param endpoint file name of the plugin's socket in the kubelet's folder */
export function registerRequest(endpoint: string, resource: string): Uint8Array {
  return bytesOf(message(stringField(1, 'v1beta1'), stringField(2, endpoint), stringField(3, resource)));
}

export interface Device {
  id: string;
  healthy: boolean;
}

/** `ListAndWatchResponse`. */
export function deviceList(devices: readonly Device[]): Uint8Array {
  const fieldOf = ({ id, healthy }: Device) =>
    messageField(1, message(stringField(1, id), stringField(2, healthy ? 'Healthy' : 'Unhealthy')));
  return bytesOf(message(...devices.map(fieldOf)));
}

/** `AllocateRequest`: for each container the identifiers of the devices that it gets. */
export function allocateRequest(data: Uint8Array): string[][] {
  return fields(data)
    .filter((field) => field.number === 1 && typeof field.value !== 'number')
    .map((container) =>
      fields(container.value as Buffer)
        .filter((field) => field.number === 1)
        .map((field) => String(field.value)),
    );
}

export interface DeviceNode {
  hostPath: string;
  containerPath: string;
  /** Of `r`, `w` and `m` (mknod), for the device cgroup. */
  permissions: string;
}

/** `AllocateResponse`: the same device node for each of the containers. */
export function allocateResponse(containers: number, node: DeviceNode): Uint8Array {
  const device = message(
    stringField(1, node.containerPath),
    stringField(2, node.hostPath),
    stringField(3, node.permissions),
  );
  return bytesOf(
    message(...Array.from({ length: containers }, () => messageField(1, messageField(3, device)))),
  );
}
