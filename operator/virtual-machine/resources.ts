/** Vmstead's own kinds, as the transport has them: with the metadata that a stored object always has. */
import { API_VERSION } from '../../crds/api.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../crds/virtual-machine-operation.ts';
import type { KubeObject } from '../kube/object.ts';
import { define } from '../kube/resources.ts';

export type StoredVirtualMachine = Omit<VirtualMachine, 'metadata'> & KubeObject;
export type StoredOperation = Omit<VirtualMachineOperation, 'metadata'> & KubeObject;

export const virtualmachines = define<StoredVirtualMachine>(API_VERSION, 'VirtualMachine', 'virtualmachines');
export const virtualmachineoperations = define<StoredOperation>(
  API_VERSION,
  'VirtualMachineOperation',
  'virtualmachineoperations',
);
