/**
 * Names and identities that are derived, never stored: lost status or not, the same VM gets the same
 * claims, UUID, MAC addresses and serials.
 */
import { createHash } from 'node:crypto';

/** Name of the pod of one life of a VM: a mutex, as two pods cannot share it. */
export const podName = (vm: string, incarnation: number): string => `vm-${vm}-${incarnation}`;

/** Name of the claim that Vmstead makes for a disk. */
export const claimName = (vm: string, disk: string): string => `${vm}-${disk}`;

/** Disk name under which the state claim is labelled; no disk can have it, as a disk's name has no dot. */
export const STATE_DISK = 'vmstead.state';

export const stateClaimName = (vm: string): string => `${vm}-state`;

/** Namespace of Vmstead's name-based UUIDs (RFC 9562, version 5). */
const UUID_NAMESPACE = Buffer.from('4cf7f5a6c0a14d0a9b5b3f0d5c8f1e77', 'hex');

function digest(...parts: string[]): Buffer {
  const hash = createHash('sha1').update(UUID_NAMESPACE);
  // A NUL cannot occur in a name, so that ("a", "bc") and ("ab", "c") differ.
  hash.update(parts.join('\0'));
  return hash.digest();
}

/** The VM's UUID (version 5) from its namespace and name. */
export function deriveUuid(namespace: string, name: string): string {
  const bytes = digest('uuid', namespace, name).subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** A locally administered unicast MAC address for one of the VM's networks. */
export function deriveMac(namespace: string, name: string, network: string): string {
  const bytes = digest('mac', namespace, name, network);
  return ['02', ...[0, 1, 2, 3, 4].map((i) => bytes[i]!.toString(16).padStart(2, '0'))].join(':');
}

/** Serial of a disk: its name where QEMU's 20 characters hold it, else a digest. */
export function deriveSerial(namespace: string, name: string, disk: string): string {
  return disk.length <= 20 ? disk : digest('serial', namespace, name, disk).toString('hex').slice(0, 20);
}
