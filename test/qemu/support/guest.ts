/** The tiny guest's kernel and initial RAM disk, out of its image, in a folder of this machine. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { docker } from '../../../images/docker.ts';

const IMAGE = 'vmstead/guest-tiny:dev';

export interface GuestFolder extends AsyncDisposable {
  /** Holds vmlinuz and initrd.img. */
  path: string;
}

export async function tinyGuest(): Promise<GuestFolder> {
  const path = await mkdtemp(join(tmpdir(), 'vmstead-guest-'));
  const container = (await docker(['create', IMAGE, '/none'])).trim();
  try {
    await docker(['cp', `${container}:/boot/.`, path]);
    // Launchers read it as user 107.
    await chmod(path, 0o755);
  } finally {
    await docker(['rm', '--force', container]);
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
