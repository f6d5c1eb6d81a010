/** Names that every part of Vmstead shares: group, version, labels, annotations, resources. */
export const GROUP = 'vmstead.io';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

export const LABEL = {
  /** Name of the VirtualMachine that a pod, claim or lease belongs to. */
  vm: 'vmstead.io/vm',
  /** Which life of the VM a launcher pod is: 1, 2, 3 … */
  incarnation: 'vmstead.io/incarnation',
  /** On a launcher pod without a guest: what it is for. */
  task: 'vmstead.io/task',
  /** Name of the VirtualMachineSnapshotSchedule that made a VirtualMachineSnapshot. */
  schedule: 'vmstead.io/schedule',
  /** Name of the disk in its VM that a claim holds. */
  disk: 'vmstead.io/disk',
  /** Name of the VirtualMachineImage that a pod, claim or lease belongs to. */
  image: 'vmstead.io/image',
  /** Which attempt to bring an image in a mover pod is: 1, 2, 3 … */
  attempt: 'vmstead.io/attempt',
  /** Name of the VirtualMachine whose disk an attachment pod exports. */
  attachment: 'vmstead.io/attachment',
  /** On a claim lease that several launchers hold: how they all use the claim. */
  use: 'vmstead.io/use',
  managedBy: 'app.kubernetes.io/managed-by',
} as const;

export const ANNOTATION = {
  /** The machine description, as JSON, on a launcher pod. */
  machine: 'vmstead.io/machine',
  /** UID of the VirtualMachine that a claim was made for. */
  vmUid: 'vmstead.io/vm-uid',
  /** What an image's claim holds, as JSON: it is there when the image is complete, and never before. */
  image: 'vmstead.io/image',
  /** Of a disk's claim: the image under it that it still needs, as JSON. */
  base: 'vmstead.io/base',
  /** Of a launcher pod: the claims whose file systems have room to grow into. A changed pod is looked at at once. */
  grown: 'vmstead.io/grown',
  /** Of a disk's claim: the storage made it as a copy of an image; what it holds, as JSON. */
  clone: 'vmstead.io/clone',
  /** Of an image's claim: why the storage does not clone it. */
  cloneRefused: 'vmstead.io/clone-refused',
  /** What a mover or an attachment pod is to do, as JSON. */
  job: 'vmstead.io/job',
  /** UID of the claim that a mover or an attachment pod writes to. */
  claimUid: 'vmstead.io/claim-uid',
  /** Generation of the VirtualMachineImage that a mover pod was made for. */
  generation: 'vmstead.io/generation',
} as const;

export const MANAGED_BY = 'vmstead';

/** Keeps a launcher pod's object until its end is proved, a force-delete included. */
export const LAUNCHER_FINALIZER = 'vmstead.io/launcher';

/** Audience of the launchers' tokens: good for the operator's channel, refused by the API server. */
export const TOKEN_AUDIENCE = 'vmstead.io';

/** Device plugin resource for `/dev/kvm`. */
export const KVM_RESOURCE = 'vmstead.io/kvm';

/** User and group of a launcher: the one that container disks use as well. */
export const LAUNCHER_UID = 107;
