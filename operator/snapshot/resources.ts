import { API_VERSION } from '../../crds/api.ts';
import type { VirtualMachineRestore } from '../../crds/virtual-machine-restore.ts';
import type { VirtualMachineSnapshot } from '../../crds/virtual-machine-snapshot.ts';
import type { KubeObject } from '../kube/object.ts';
import { define } from '../kube/resources.ts';

export type StoredSnapshot = Omit<VirtualMachineSnapshot, 'metadata'> & KubeObject;
export type StoredRestore = Omit<VirtualMachineRestore, 'metadata'> & KubeObject;

export const virtualmachinesnapshots = define<StoredSnapshot>(
  API_VERSION,
  'VirtualMachineSnapshot',
  'virtualmachinesnapshots',
);
export const virtualmachinerestores = define<StoredRestore>(
  API_VERSION,
  'VirtualMachineRestore',
  'virtualmachinerestores',
);
