import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeHandle } from '../provider.ts';
import type { Docker } from './docker.ts';

/**
 * Images get to the nodes without a registry: the layers of Docker's images lie as blobs in one folder that every
 * node sees, and a node imports an OCI layout with only those blobs that its containerd does not have. A changed
 * program is then a layer of a few hundred KiB, not an image of hundreds of MiB.
 */

/** Where nodes see the folder of blobs. */
export const imagesMount = '/opt/images';

/** A local Docker image whose blobs are in the folder. */
interface SavedImage {
  reference: string;
  /** The file with its OCI index. */
  index: string;
  /** Digests (hex) of manifest and configuration. */
  documents: string[];
  /** Digests (hex) of its layers. */
  layers: string[];
}

/** The name that Kubernetes' runtimes look for: Docker leaves its own registry out of names, they put it in. */
export function fullName(reference: string): string {
  const [first = '', ...rest] = reference.split('/');
  if (rest.length === 0) return `docker.io/library/${reference}`;
  return /[.:]/.test(first) || first === 'localhost' ? reference : `docker.io/${reference}`;
}

const sha256 = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex');

/** Writes a file that other checkouts may be writing too: whole or not at all. */
async function writeBlob(path: string, content: string | Buffer): Promise<void> {
  if (existsSync(path)) return;
  const partial = `${path}.${process.pid}.part`;
  await writeFile(partial, content);
  await rename(partial, path);
}

interface DockerManifest {
  Config: string;
  Layers: string[];
}

/** Unpacks `docker save`: one archive for all of them, so what they share is in it once. */
async function save(references: readonly string[], folder: string): Promise<void> {
  const script = 'set -o pipefail; folder=$1; shift; docker save "$@" | tar --extract --directory "$folder"';
  const child = spawn('bash', ['-c', script, 'bash', folder, ...references], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`docker save of ${references.join(', ')}: ${errors.trim()}`);
}

/** Takes the blobs that are missing out of what Docker saves. */
async function extract(directory: string, references: readonly string[]): Promise<void> {
  const folder = await mkdtemp(join(directory, 'save-'));
  try {
    await save(references, folder);
    const manifests = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as DockerManifest[];
    for (const manifest of manifests) {
      const config = await readFile(join(folder, manifest.Config));
      const { rootfs } = JSON.parse(config.toString()) as { rootfs: { diff_ids: string[] } };
      for (const [index, layer] of manifest.Layers.entries()) {
        const digest = rootfs.diff_ids[index]?.replace('sha256:', '') ?? '';
        const path = join(directory, 'blobs', 'sha256', digest);
        // A layer that two images share may be a link to the other one's file.
        if (!existsSync(path)) await rename(await realpath(join(folder, layer)), path).catch(() => {});
      }
      await writeBlob(join(directory, 'blobs', 'sha256', sha256(config)), config);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number | undefined;
}

/** The OCI documents of an image whose blobs are all there; undefined when some are not. */
async function describe(
  docker: Docker,
  directory: string,
  reference: string,
): Promise<SavedImage | undefined> {
  const blobs = join(directory, 'blobs', 'sha256');
  const info = await docker
    .getImage(reference)
    .inspect()
    .catch((error: { statusCode?: number }) => {
      if (error.statusCode !== 404) throw error;
      throw new Error(
        `image ${reference} is not in the local Docker engine: build it first ("npm run images")`,
      );
    });
  const config = info.Id.replace('sha256:', '');
  const layers = info.RootFS.Layers?.map((layer) => layer.replace('sha256:', '')) ?? [];
  const size = async (digest: string): Promise<number | undefined> =>
    (await stat(join(blobs, digest)).catch(() => undefined))?.size;
  const descriptor = async (digest: string, mediaType: string): Promise<Descriptor> => ({
    mediaType: `application/vnd.oci.image.${mediaType}`,
    digest: `sha256:${digest}`,
    size: await size(digest),
  });
  const configDescriptor = await descriptor(config, 'config.v1+json');
  const layerDescriptors = await Promise.all(layers.map((layer) => descriptor(layer, 'layer.v1.tar')));
  if ([configDescriptor, ...layerDescriptors].some((each) => each.size === undefined)) return undefined;
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: configDescriptor,
    layers: layerDescriptors,
  });
  const digest = sha256(manifest);
  await writeBlob(join(blobs, digest), manifest);
  const entry = await descriptor(digest, 'manifest.v1+json');
  const annotations = { 'io.containerd.image.name': fullName(reference) };
  const index = JSON.stringify({ schemaVersion: 2, manifests: [{ ...entry, annotations }] });
  const indexName = `index-${sha256(index)}.json`;
  await writeBlob(join(directory, indexName), index);
  return { reference, index: indexName, documents: [digest, config], layers };
}

async function saveImages(
  docker: Docker,
  directory: string,
  references: readonly string[],
): Promise<SavedImage[]> {
  await mkdir(join(directory, 'blobs', 'sha256'), { recursive: true });
  await writeBlob(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const known = await Promise.all(references.map((reference) => describe(docker, directory, reference)));
  const missing = references.filter((_, index) => known[index] === undefined);
  if (missing.length > 0) await extract(directory, missing);
  return Promise.all(
    references.map(async (reference, index) => {
      const image = known[index] ?? (await describe(docker, directory, reference));
      if (!image) throw new Error(`what Docker saved of ${reference} lacks layers`);
      return image;
    }),
  );
}

/** Imports a saved image into a node's containerd, unless that very image was imported before. */
async function importImage(node: NodeHandle, image: SavedImage): Promise<void> {
  // The mark lives and dies with containerd's own folder.
  const marks = '/var/lib/containerd/imported';
  const mark = `${marks}/${image.reference.replaceAll(/[/:]/g, '_')}`;
  const result = await node.exec(`
    set -euo pipefail
    export PATH=/opt/containerd:$PATH
    [[ "$(cat '${mark}' 2> /dev/null)" == '${image.index}' ]] && exit 0
    for i in $(seq 100); do ctr version > /dev/null 2>&1 && break; sleep 0.1; done
    cd ${imagesMount}
    files='${image.documents.map((digest) => `blobs/sha256/${digest}`).join(' ')}'
    for layer in ${image.layers.join(' ')}; do
      [[ -e /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/$layer ]] || files+=" blobs/sha256/$layer"
    done
    tar --create --transform 's/^${image.index}$/index.json/' oci-layout ${image.index} $files \\
      | ctr --namespace k8s.io images import --local --snapshotter overlayfs -
    # Of a name that was there before, the runtime does not make the second name that it mounts image volumes by.
    ctr --namespace k8s.io images tag --force '${fullName(image.reference)}' 'sha256:${image.documents[1]}' > /dev/null
    mkdir -p ${marks}
    echo '${image.index}' > '${mark}'`);
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
  const saved = await saveImages(docker, directory, references);
  await Promise.all(
    nodes.map(async (node) => {
      for (const image of saved) await importImage(node, image);
    }),
  );
}
