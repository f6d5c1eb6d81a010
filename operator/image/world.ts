/** What one reconcile of an image sees: gathered once, then only read. */
import type { MoverProgress } from '../../crds/mover.ts';
import type { VirtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { CoreEvent, Lease, Node, PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import type { StoredSnapshot } from '../snapshot/resources.ts';
import type { MachineDefaults } from '../virtual-machine/world.ts';

export interface ImageWorld {
  /** Milliseconds since the epoch. */
  now: number;
  namespace: string;
  name: string;
  /** Absent: deleted. */
  image: VirtualMachineImage | undefined;
  /** Every mover pod with this image's name on it, older images of that name included. */
  pods: readonly Pod[];
  /** The claim of the image's derived name. */
  claim: PersistentVolumeClaim | undefined;
  /** The snapshot that the source names, if it names one that is there. */
  snapshot: StoredSnapshot | undefined;
  /** The claim that is the source, or has the layers of the snapshot that is. */
  sourceClaim: PersistentVolumeClaim | undefined;
  /** Leases of those two by the claim's UID. */
  leases: ReadonlyMap<string, Lease>;
  /** Claim leases that name this image. */
  ownLeases: readonly Lease[];
  /** Names of leases whose holder has no pod object, by a look at the API server itself. */
  orphanLeases: ReadonlySet<string>;
  nodes: readonly Node[];
  /** What movers say of their work, by pod UID. */
  progress: ReadonlyMap<string, MoverProgress>;
  /** Warnings about the current pod; looked up only while it does not start. */
  warnings: readonly CoreEvent[];
  defaults: Pick<MachineDefaults, 'launcherImage' | 'launcherImagePullPolicy' | 'channel'>;
}
