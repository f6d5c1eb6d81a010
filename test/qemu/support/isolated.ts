/** Where a launcher and a test's operator meet: a network of Docker's without a way out, and a folder. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { docker } from '../../../images/docker.ts';

/** Makes the network of that name; its gateway is this machine. */
export async function isolate(network: string): Promise<{ folder: string; gateway: string }> {
  const folder = await mkdtemp(join(tmpdir(), `${network}-`));
  await docker(['network', 'create', '--internal', network]);
  const format = '{{(index .IPAM.Config 0).Gateway}}';
  return { folder, gateway: (await docker(['network', 'inspect', network, '--format', format])).trim() };
}

export async function release(network: string, folder: string): Promise<void> {
  await docker(['network', 'rm', network]);
  await rm(folder, { recursive: true, force: true });
}
