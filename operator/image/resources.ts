import { API_VERSION } from '../../crds/api.ts';
import type { VirtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { KubeObject } from '../kube/object.ts';
import { define } from '../kube/resources.ts';

export type StoredImage = Omit<VirtualMachineImage, 'metadata'> & KubeObject;

export const virtualmachineimages = define<StoredImage>(
  API_VERSION,
  'VirtualMachineImage',
  'virtualmachineimages',
);
