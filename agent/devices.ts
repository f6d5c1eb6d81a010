import { execFile } from 'node:child_process';
import { chmod, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

/** `/dev/kvm`: a misc device with a number of its own. Source: Linux, Documentation/admin-guide/devices.txt */
export const KVM_DEVICE = { major: 10, minor: 232 } as const;

export interface CharacterDevice {
  major: number;
  minor: number;
}

/**
 * Makes a character device that everyone may open. A runtime at its defaults copies owner and mode of the node's
 * device into the container, and /dev/kvm belongs to root and a group whose number differs between
 * distributions; this copy serves the launcher's user without any group. Its folder keeps the node's own users
 * away from it.
 */
export async function makeDevice(path: string, device: CharacterDevice): Promise<void> {
  const number = device.major * 256 + device.minor;
  const found = await stat(path).catch(() => undefined);
  if (found?.isCharacterDevice() && found.rdev === number && (found.mode & 0o777) === 0o666) return;
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.part`;
  await rm(partial, { force: true });
  const args = ['-m', '0666', partial, 'c', String(device.major), String(device.minor)];
  await promisify(execFile)('mknod', args);
  await rename(partial, path);
}

/** Makes the agent's folder on the node, closed to all but root, and a folder in it for the prover's user. */
export async function makeStateDirectory(directory: string, proofDirectory: string): Promise<void> {
  await mkdir(proofDirectory, { recursive: true });
  await chmod(proofDirectory, 0o777);
  await chmod(directory, 0o700);
}
