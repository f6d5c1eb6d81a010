/** What a plan consists of. */
import type { CommandName } from '../../crds/channel.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import type {
  VirtualMachineOperation,
  VirtualMachineOperationStatus,
} from '../../crds/virtual-machine-operation.ts';
import type { VirtualMachineRestoreStatus } from '../../crds/virtual-machine-restore.ts';
import type { Draft } from '../kube/object.ts';
import type { Lease, PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import type { StoredRestore } from '../snapshot/resources.ts';

export type Action =
  | { type: 'CreateClaim'; claim: Draft<PersistentVolumeClaim> }
  | { type: 'GrowClaim'; claim: PersistentVolumeClaim; size: string }
  | { type: 'SetClaimOwner'; claim: PersistentVolumeClaim; owners: readonly object[] }
  /** Makes the kubelet look at the pod, and so at its claims that have grown. */
  | { type: 'TouchPod'; pod: Pod; grown: string }
  /** Remembers that the storage does not clone an image's claim. */
  | { type: 'RefuseClone'; claim: PersistentVolumeClaim; words: string }
  /** The disk in the claim needs its image no more. */
  | { type: 'LetGoOfBase'; claim: PersistentVolumeClaim }
  | { type: 'TakeLease'; lease: Draft<Lease>; replaces: Lease | undefined }
  | { type: 'CreatePod'; pod: Draft<Pod> }
  /** The pod through which a disk is plugged into the running machine. */
  | { type: 'CreateAttachment'; disk: string; pod: Draft<Pod> }
  /** Ends the launcher: the kubelet gives the guest `graceSeconds`, or what the pod says. */
  | { type: 'DeletePod'; pod: Pod; graceSeconds: number | undefined }
  /** Writes down what the running machine is to be from now on, and tells its launcher. */
  | { type: 'ChangeMachine'; pod: Pod; machine: MachineDescription }
  /** Tells a launcher that has not yet said that it knows. */
  | { type: 'TellMachine'; podUID: string; machine: MachineDescription }
  /** These holders give it back. */
  | { type: 'ReleaseLease'; lease: Lease; holders: readonly string[] }
  | { type: 'DropFinalizer'; pod: Pod }
  | { type: 'Command'; podUID: string; name: CommandName; operation: VirtualMachineOperation }
  | { type: 'UpdateOperation'; operation: VirtualMachineOperation; status: VirtualMachineOperationStatus }
  | { type: 'UpdateRestore'; restore: StoredRestore; status: VirtualMachineRestoreStatus }
  | { type: 'DeleteOperation'; operation: VirtualMachineOperation };

export interface Steps {
  /** In this order; the first that fails ends the reconcile. */
  actions: Action[];
  /** Only when the status that records what they erase is stored. */
  afterStatus: Action[];
  /** Milliseconds after which time alone may change something. */
  after: number | undefined;
}
