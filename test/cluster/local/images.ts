import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { NodeHandle } from '../provider.ts';
import type { Docker } from './docker.ts';

/** Where nodes see the folder of saved images. */
export const imagesMount = '/opt/images';

/** A local Docker image saved as a file, named by its content. */
interface SavedImage {
  reference: string;
  file: string;
}

/**
 * Saves an image beside older ones; one that is saved already costs nothing, older ones of the same name go.
 *
 * @throws Error when the engine does not have the image
 */
async function saveImage(docker: Docker, directory: string, reference: string): Promise<SavedImage> {
  const image = docker.getImage(reference);
  const { Id } = await image.inspect().catch((error: { statusCode?: number }) => {
    if (error.statusCode !== 404) throw error;
    throw new Error(
      `image ${reference} is not in the local Docker engine: build it first ("npm run images")`,
    );
  });
  const prefix = `${reference.replaceAll(/[/:]/g, '_')}@`;
  const file = `${prefix}${Id.replace('sha256:', '').slice(0, 16)}.tar`;
  const path = join(directory, file);
  if (await stat(path).catch(() => undefined)) return { reference, file };
  await mkdir(directory, { recursive: true });
  const partial = `${path}.${process.pid}.part`;
  await pipeline(await image.get(), createWriteStream(partial));
  await rename(partial, path);
  for (const other of await readdir(directory)) {
    if (other.startsWith(prefix) && other !== file && other.endsWith('.tar'))
      await rm(join(directory, other));
  }
  return { reference, file };
}

/** Imports a saved image into a node's containerd, unless that very image was imported before. */
async function importImage(node: NodeHandle, image: SavedImage): Promise<void> {
  // The mark lives and dies with containerd's own folder.
  const mark = `/var/lib/containerd/imported/${image.file}`;
  const result = await node.exec(`
    set -e
    export PATH=/opt/containerd:$PATH
    [[ -e '${mark}' ]] && exit 0
    for i in $(seq 100); do ctr version > /dev/null 2>&1 && break; sleep 0.1; done
    ctr --namespace k8s.io images import --snapshotter overlayfs '${imagesMount}/${image.file}'
    mkdir -p "$(dirname '${mark}')" && touch '${mark}'`);
  if (result.exitCode !== 0) {
    throw new Error(
      `importing ${image.reference} on ${node.name}: ${(result.stdout + result.stderr).trim()}`,
    );
  }
}

/** Makes local images usable on all nodes, side by side. */
export async function loadImages(
  docker: Docker,
  directory: string,
  nodes: readonly NodeHandle[],
  references: readonly string[],
): Promise<void> {
  const saved = await Promise.all(references.map((reference) => saveImage(docker, directory, reference)));
  await Promise.all(
    nodes.map(async (node) => {
      for (const image of saved) await importImage(node, image);
    }),
  );
}
