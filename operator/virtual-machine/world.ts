/** What one reconcile of a VM sees: gathered once, then only read. */
import type { LauncherReport } from '../../crds/channel.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { VirtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { VirtualMachineOperation } from '../../crds/virtual-machine-operation.ts';
import type { CommandResult } from '../channel/registry.ts';
import type { CoreEvent, Lease, Node, PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import type { StoredRestore, StoredSnapshot } from '../snapshot/resources.ts';
import type { Cloning } from './cloning.ts';

/** What the operator was told at its own start. */
export interface MachineDefaults {
  launcherImage: string;
  launcherImagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Versioned machine type for VMs that name none, such as pc-q35-10.0. */
  defaultMachineType: string;
  /** Where launchers reach the operator. */
  channel: { addresses: string[]; serverName: string; caCertificate: string } | undefined;
}

/** What is known of one launcher from its channel. */
export interface LauncherContact {
  connected: boolean;
  /** Milliseconds since the epoch, by this process' own clock. */
  lastHeardAt: number;
  report: LauncherReport | undefined;
  launcherVersion: string | undefined;
  /** What it understands beyond the first version. */
  features: readonly string[];
  /** What it answered to commands, by the UID of their operation. */
  results: ReadonlyMap<string, CommandResult>;
}

export interface World {
  /** Milliseconds since the epoch. */
  now: number;
  /** Since when this process has led and listened: launchers need a moment to dial again. */
  listeningSince: number;
  namespace: string;
  name: string;
  /** Absent: deleted. */
  vm: VirtualMachine | undefined;
  /** Every launcher pod with this VM's name on it, older VMs of that name included. */
  pods: readonly Pod[];
  /** Claims of this namespace that the VM's disks use or would use, by name. */
  claims: ReadonlyMap<string, PersistentVolumeClaim>;
  /** Images that the VM's disks name. */
  images: ReadonlyMap<string, VirtualMachineImage>;
  /** Claims of images that the VM's disks begin as, or still need, by name. */
  imageClaims: ReadonlyMap<string, PersistentVolumeClaim>;
  cloning: Cloning;
  /** Claim leases of this namespace by the claim's UID. */
  leases: ReadonlyMap<string, Lease>;
  /** Claim leases that name this VM. */
  ownLeases: readonly Lease[];
  /** Holders of leases that have no pod object, by a look at the API server itself, and whose disk nobody has. */
  orphanLeases: ReadonlySet<string>;
  /** Those, and holders without a pod whose disk the guest of a launcher that runs may have. */
  podlessHolders: ReadonlySet<string>;
  nodes: readonly Node[];
  /** Storage classes that allow expansion, of those of claims that are to grow. */
  expandableClasses: ReadonlySet<string>;
  /** Nodes whose kubelet no longer renews its lease, and since when; looked up only where a launcher is not heard. */
  silentNodes: ReadonlyMap<string, string>;
  operations: readonly VirtualMachineOperation[];
  /** Of this VM. */
  snapshots: readonly StoredSnapshot[];
  restores: readonly StoredRestore[];
  contacts: ReadonlyMap<string, LauncherContact>;
  /** Every attachment pod with this VM's name on it. */
  attachments: readonly Pod[];
  /** UIDs of attachment pods that are heard, and whether their disk can be reached. */
  exporters: ReadonlyMap<string, boolean>;
  /** Warnings about an attachment pod that does not start. */
  attachmentWarnings: readonly CoreEvent[];
  /** Warnings about the current pod and its claims; looked up only while something is waited for. */
  warnings: readonly CoreEvent[];
  defaults: MachineDefaults;
}
