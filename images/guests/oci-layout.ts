/**
 * Writes an OCI image layout of one layer: what `vmstead run` takes for an image, `ctr images import` reads, and,
 * for its `manifest.json`, `docker load` too. https://github.com/opencontainers/image-spec/blob/main/image-layout.md
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';

/** A file of the image. */
export interface ImageFile {
  /** Absolute path in the image. */
  path: string;
  /** Path of its content on this machine. */
  source: string;
}

export interface LayoutOptions {
  /** The image's name with a tag, such as `vmstead/guest-tiny:dev`; more names may follow. */
  references: readonly [string, ...string[]];
  files: readonly ImageFile[];
  /** Owner and group of everything in the image. */
  owner: number;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

const BLOCK = 512;

/**
 * Writes the layout into a new folder. The same input gives the same bytes.
 *
 * @throws Error of the file system, or when a file is too large for a tar header (8 GiB)
 */
export async function writeOciLayout(folder: string, options: LayoutOptions): Promise<void> {
  const blobs = join(folder, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const layer = await writeLayer(blobs, options);
  const config = await writeBlob(blobs, 'application/vnd.oci.image.config.v1+json', {
    created: '1970-01-01T00:00:00Z',
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.digest] }, // uncompressed: the same digest
  });
  const manifest = await writeBlob(blobs, 'application/vnd.oci.image.manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config,
    layers: [layer],
  });
  const manifests = options.references.map((reference) => ({
    ...manifest,
    annotations: {
      'io.containerd.image.name': `docker.io/${reference}`,
      'org.opencontainers.image.ref.name': reference.slice(reference.lastIndexOf(':') + 1),
    },
  }));
  const path = (descriptor: Descriptor) => `blobs/sha256/${descriptor.digest.slice('sha256:'.length)}`;
  const write = (name: string, content: unknown) => writeFile(join(folder, name), JSON.stringify(content));
  await write('manifest.json', [
    { Config: path(config), RepoTags: options.references, Layers: [path(layer)] },
  ]);
  await write('index.json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests,
  });
  await write('oci-layout', { imageLayoutVersion: '1.0.0' });
}

async function writeBlob(blobs: string, mediaType: string, content: object): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(content));
  const hex = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(blobs, hex), bytes);
  return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
}

async function writeLayer(blobs: string, { files, owner }: LayoutOptions): Promise<Descriptor> {
  const partial = join(blobs, 'layer.part');
  const hash = createHash('sha256');
  let size = 0;
  await using output = await open(partial, 'w');
  const write = async (bytes: Buffer) => {
    hash.update(bytes);
    size += bytes.length;
    await output.write(bytes);
  };
  try {
    for (const folder of parents(files)) await write(tarHeader(`${folder}/`, 0, owner));
    for (const file of files) {
      const length = (await stat(file.source)).size;
      await write(tarHeader(file.path.slice(1), length, owner));
      for await (const chunk of createReadStream(file.source)) await write(chunk as Buffer);
      await write(Buffer.alloc((BLOCK - (length % BLOCK)) % BLOCK));
    }
    await write(Buffer.alloc(2 * BLOCK));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  const hex = hash.digest('hex');
  await rename(partial, join(blobs, hex));
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${hex}`, size };
}

/** Every folder above the files, outermost first, without the leading slash. */
function parents(files: readonly ImageFile[]): string[] {
  const found = new Set<string>();
  for (const file of files) {
    for (let folder = posix.dirname(file.path); folder !== '/'; folder = posix.dirname(folder)) {
      found.add(folder.slice(1));
    }
  }
  return [...found].sort();
}

/** A ustar header; a name that ends with a slash is a folder. */
function tarHeader(name: string, size: number, owner: number): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error(`the path ${name} is too long for an image's layer`);
  if (size >= 8 ** 11) throw new Error(`${name} is too large for an image's layer: 8 GiB at most`);
  const folder = name.endsWith('/');
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, width: number) =>
    header.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1');
  header.write(name, 0);
  octal(folder ? 0o755 : 0o644, 100, 8);
  octal(owner, 108, 8);
  octal(owner, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  header.write(' '.repeat(8), 148, 'latin1'); // the checksum counts as spaces
  header.write(folder ? '5' : '0', 156, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}
