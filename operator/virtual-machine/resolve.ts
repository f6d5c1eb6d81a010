/** From what the spec leaves open to what is decided: the values of status.resolved. */

import { KVM_RESOURCE } from '../../crds/api.ts';
import { parseBytes } from '../../crds/quantity.ts';
import type { DiskSpec, VirtualMachineSpec, VirtualMachineStatus } from '../../crds/virtual-machine.ts';
import type { Node } from '../kube/resources.ts';
import { claimName, deriveUuid } from './names.ts';
import { memoryOverheadMiB } from './overhead.ts';

const MIB = 1024n * 1024n;

/** Seconds that a guest has to power itself off where the spec does not say. */
const DEFAULT_GRACE_SECONDS = 120;

export interface Resolved {
  machineType: string;
  cpuModel: string;
  sockets: number;
  cores: number;
  threads: number;
  vcpus: number;
  memoryMiB: number;
  memoryOverheadMiB: number;
  firmware: 'BIOS' | 'UEFI';
  uuid: string;
  accelerator: 'kvm' | 'tcg';
  graceSeconds: number;
}

export const runStrategyOf = (spec: VirtualMachineSpec) => spec.runStrategy ?? 'Always';

/** What was pinned at the first start and must stay through later ones. */
export interface Pinned {
  machineType: string | undefined;
}

export function pinnedBy(status: VirtualMachineStatus | undefined): Pinned {
  return { machineType: status?.resolved?.machineType };
}

/** Decides everything about the next start of a VM. */
export function resolve(
  { namespace, name }: { namespace: string; name: string },
  spec: VirtualMachineSpec,
  pinned: Pinned,
  accelerator: 'kvm' | 'tcg',
  defaultMachineType: string,
): Resolved {
  const { sockets = 1, cores = 1, threads = 1 } = spec.cpu ?? {};
  const vcpus = sockets * cores * threads;
  const memoryMiB = Number((parseBytes(spec.memory.size) + MIB - 1n) / MIB);
  const asked = spec.machine?.type;
  return {
    machineType: asked !== undefined && asked !== 'q35' ? asked : (pinned.machineType ?? defaultMachineType),
    cpuModel: cpuModel(spec.cpu?.model, accelerator),
    sockets,
    cores,
    threads,
    vcpus,
    memoryMiB,
    memoryOverheadMiB: memoryOverheadMiB(memoryMiB, vcpus, accelerator),
    firmware: spec.firmware?.type ?? 'BIOS',
    uuid: spec.firmware?.uuid ?? deriveUuid(namespace, name),
    accelerator,
    graceSeconds: spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS,
  };
}

/** `-cpu host` is fatal under emulation, where QEMU's `max` is what comes nearest. */
function cpuModel(asked: string | undefined, accelerator: 'kvm' | 'tcg'): string {
  if (asked === undefined || asked === 'host') return accelerator === 'kvm' ? 'host' : 'max';
  return asked;
}

/**
 * Whether the next start asks for KVM. Auto asks as soon as a node that the VM may run on offers it, free or
 * not: a full node is waited for, never swapped for emulation in silence.
 */
export function chooseAccelerator(spec: VirtualMachineSpec, nodes: readonly Node[]): 'kvm' | 'tcg' {
  if (spec.acceleration === 'KVM') return 'kvm';
  if (spec.acceleration === 'Emulation') return 'tcg';
  return nodes.some((node) => offersKvm(node) && matchesSelector(node, spec.pod?.nodeSelector))
    ? 'kvm'
    : 'tcg';
}

export function offersKvm(node: Node): boolean {
  // A quantity: 1000 slots are written as "1k".
  return (node.status?.allocatable?.[KVM_RESOURCE] ?? '0') !== '0';
}

function matchesSelector(node: Node, selector: Readonly<Record<string, string>> | undefined): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => node.metadata.labels?.[key] === value);
}

/** Whether Vmstead makes the disk's claim. */
export const hasOwnClaim = ({ source, device }: DiskSpec): boolean =>
  source?.blank !== undefined || (source?.image !== undefined && device !== 'cdrom');

/** Name of the image that a disk reads for as long as it runs, without a claim of its own. */
export const imageReadBy = ({ source, device }: DiskSpec): string | undefined =>
  source?.ephemeral?.image?.name ?? (device === 'cdrom' ? source?.image?.name : undefined);

/** Name of the claim that holds a disk's data, or nothing for a disk that has none. */
export function claimOf(vm: string, disk: DiskSpec): string | undefined {
  const named = disk.source?.claim ?? disk.source?.ephemeral?.claim;
  if (named) return named.name;
  return hasOwnClaim(disk) ? claimName(vm, disk.name) : undefined;
}
