/** `npm run images -- --push`, to a registry of this test's own on loopback, and what is there afterwards. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Images } from '../../images/build.ts';
import { docker } from '../../images/docker.ts';
import { helmPath, pushedGuestPath, pushedImages, pushedImagesPath } from '../../setup/deploy.ts';
import { binary, root } from '../../setup/paths.ts';
import { waitFor } from '../api/support/wait-for.ts';

const run = promisify(execFile);
/** What a person pushed stays noted. */
const notes = new Map<string, string | undefined>();
let registry: ChildProcess;
let host: string;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

beforeAll(async () => {
  for (const path of [pushedImagesPath, pushedGuestPath]) {
    notes.set(path, await readFile(path, 'utf8').catch(() => undefined));
  }
  const port = await freePort();
  registry = spawn(binary('registry', 'registry'), ['-port', String(port)], { stdio: 'ignore' });
  host = `127.0.0.1:${port}`;
  await waitFor('the registry', () =>
    fetch(`http://${host}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
});
afterAll(async () => {
  registry?.kill();
  for (const [path, text] of notes) {
    if (text === undefined) await rm(path, { force: true });
    else await writeFile(path, text);
  }
});

interface Manifest {
  config: { digest: string };
  layers: { digest: string; size: number }[];
}

async function manifestOf(reference: string): Promise<Manifest> {
  const [, name, tag] = /^[^/]+\/(.+):([^:]+)$/.exec(reference) ?? [];
  const response = await fetch(`http://${host}/v2/${name}/manifests/${tag}`);
  expect(response.status, reference).toBe(200);
  return (await response.json()) as Manifest;
}

test('pushes every image, notes them for helm and npm start, and they can be pulled', {
  timeout: 300_000,
}, async () => {
  const { stdout } = await run(process.execPath, [
    ...[join(root, 'setup', 'main.ts'), 'images', '--push', `${host}/vmstead/`],
  ]);
  const { images, guest } = await pushedImages();
  const all: Record<string, string> = { ...images, guest };
  expect(Object.keys(all).sort()).toEqual(['agent', 'guest', 'launcher', 'operator']);
  for (const [name, reference] of Object.entries(all)) {
    expect(reference).toMatch(new RegExp(`^${host}/vmstead/[a-z-]+:[\\w.-]+$`));
    if (name !== 'guest') expect(stdout).toContain(`${name}: ${reference}\n`);
    const { layers } = await manifestOf(reference);
    for (const { digest, size } of layers) {
      const repository = /\/(.+):/.exec(reference)?.[1];
      const blob = await fetch(`http://${host}/v2/${repository}/blobs/${digest}`, { method: 'HEAD' });
      expect(Number(blob.headers.get('content-length')), `${reference} ${digest}`).toBe(size);
    }
  }
  expect(stdout).toContain('For helm: --values ');
  const { stdout: manifests } = await run(helmPath(), [
    ...['template', 'vmstead', join(root, 'helm'), '--values', pushedImagesPath],
  ]);
  for (const name of ['operator', 'launcher', 'agent'] as const satisfies readonly (keyof Images)[]) {
    expect(manifests).toContain(images[name]);
  }

  // The same image comes back, under its digest.
  const { config } = await manifestOf(images.agent);
  await docker(['image', 'rm', images.agent]);
  await docker(['pull', '--quiet', images.agent]);
  const id = await docker(['image', 'inspect', '--format', '{{.Id}}', images.agent]);
  expect(id.trim()).toBe(config.digest);
  await Promise.all(Object.values(all).map((reference) => docker(['image', 'rm', reference])));
});
