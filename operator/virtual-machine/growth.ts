/** Claims that are to be larger than they are. Pure. */
import { parsedBytes } from '../../crds/quantity.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';
import { neededClaims } from './claims.ts';
import type { World } from './world.ts';

/** Why something of the VM is not yet as large as it should be. */
export interface Growth {
  reason: 'ClassCannotExpand' | 'ClaimGrowing' | 'GrowthRefused';
  message: string;
}

interface GrowthPlan {
  /** Claims to ask for more, and for how much. */
  grow: { claim: PersistentVolumeClaim; size: string }[];
  /** Absent: everything is as large as it should be. */
  waits: Growth | undefined;
  after: number | undefined;
}

/** Milliseconds until a storage class that allows no expansion is looked at again. */
const CLASS_AGAIN = 60_000;

/** Names of the storage classes of claims that are to grow. */
export function classesToAsk(vm: VirtualMachine, claims: World['claims']): Set<string> {
  return new Set(wanting(vm, claims).flatMap(({ claim }) => claim.spec?.storageClassName ?? []));
}

interface Wanting {
  disk: string;
  claim: PersistentVolumeClaim;
  size: string;
}

/** The VM's own claims that ask for less than the spec says. */
function wanting(vm: VirtualMachine, claims: World['claims']): Wanting[] {
  return neededClaims(vm).flatMap(({ disk, name, template }) => {
    const claim = claims.get(name);
    const size = template?.size;
    const [wants, asks] = [parsedBytes(size), parsedBytes(requestOf(claim))];
    if (claim === undefined || size === undefined || wants === undefined || asks === undefined) return [];
    // The API server lets bound claims grow only.
    return wants > asks && claim.status?.phase === 'Bound' ? [{ disk, claim, size }] : [];
  });
}

const requestOf = (claim: PersistentVolumeClaim | undefined): string | undefined =>
  claim?.spec?.resources?.requests?.storage;

export function planGrowth(world: World, vm: VirtualMachine): GrowthPlan {
  const plan: GrowthPlan = { grow: [], waits: undefined, after: undefined };
  for (const { disk, claim, size } of wanting(vm, world.claims)) {
    const { name } = claim.metadata;
    const className = claim.spec?.storageClassName ?? '';
    if (world.expandableClasses.has(className)) {
      plan.grow.push({ claim, size });
      plan.waits ??= growing(disk, name, size, undefined);
    } else {
      plan.after = CLASS_AGAIN;
      plan.waits = {
        reason: 'ClassCannotExpand',
        message: `PersistentVolumeClaim ${name} of disk ${disk} stays at ${requestOf(claim)} in place of ${size}: StorageClass ${className || '(none)'} does not allow volume expansion. Set allowVolumeExpansion on it where its driver can do it, or copy the data to a disk of another class.`,
      };
    }
  }
  plan.waits ??= underWay(world, vm);
  return plan;
}

/**
 * The claims that wait for the kubelet to grow their file systems, which otherwise looks once in a minute or so;
 * nothing where none does.
 */
export function grownClaims(world: World, vm: VirtualMachine): string | undefined {
  const waiting = neededClaims(vm).flatMap(({ name }) => {
    const claim = world.claims.get(name);
    const pending = claim?.status?.conditions?.some(({ type }) => type === 'FileSystemResizePending');
    return pending ? [`${name}=${requestOf(claim)}`] : [];
  });
  return waiting.length > 0 ? waiting.join(',').slice(0, 4096) : undefined;
}

/** A claim that asks for more than its volume has yet. */
function underWay(world: World, vm: VirtualMachine): Growth | undefined {
  for (const { disk, name, template } of neededClaims(vm)) {
    const claim = template && world.claims.get(name);
    if (!claim) continue;
    const resizing = claim.status?.conditions?.find((each) =>
      ['Resizing', 'FileSystemResizePending', 'ControllerResizeError', 'NodeResizeError'].includes(each.type),
    );
    if (resizing) return growing(disk, name, requestOf(claim) ?? '', resizing.message ?? resizing.type);
  }
  return undefined;
}

const growing = (disk: string, name: string, size: string, why: string | undefined): Growth => ({
  reason: 'ClaimGrowing',
  message: `PersistentVolumeClaim ${name} of disk ${disk} grows to ${size}${why ? `: ${why}` : '.'}`,
});
