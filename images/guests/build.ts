/**
 * Builds the test guests from Debian's packages with the local Docker engine, once for each state of their sources:
 * the results lie in the cache under a hash of everything in this folder that goes into them.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { docker, hasImage } from '../docker.ts';
import { type ImageFile, writeOciLayout } from './oci-layout.ts';
import { uncompressedKernel } from './uncompressed-kernel.ts';

const here = import.meta.dirname;

/** Says what is being done, for a person who waits. */
type Report = (message: string) => void;

/** An OCI image with a guest in it. */
export interface GuestImage {
  /** Its name in the local Docker engine, with a tag made from its content; the tag `dev` is the same image. */
  reference: string;
  /** The same image as an OCI layout folder, for `vmstead run`. */
  layout: string;
}

/** Debian's cloud kernel and a small initial RAM disk: up in 2 to 3 s under emulation. */
export interface TinyGuest {
  /** As Debian has it (bzImage). */
  kernel: string;
  /** The same, uncompressed: boots sooner from BIOS; UEFI does not take it. */
  uncompressedKernel: string;
  initrd: string;
  /** A qcow2 disk that boots the same from BIOS and UEFI. */
  disk: string;
  /** `/boot/vmlinuz`, `/boot/vmlinux` and `/boot/initrd.img`. */
  kernelImage: GuestImage;
  /** `/disk/disk.qcow2`. */
  diskImage: GuestImage;
}

/** An installed Debian with systemd, cloud-init, qemu-guest-agent and sshd. */
export interface FullGuest {
  /** A qcow2 disk that boots from BIOS and UEFI. */
  disk: string;
  /** `/disk/disk.qcow2`. */
  diskImage: GuestImage;
}

interface ImageRecipe {
  name: string;
  /** Paths in the image, and the files of the guest's folder that go there. */
  files: Record<string, string>;
  owner: number;
}

interface Recipe {
  name: string;
  /** Folders and files that decide the result. */
  sources: readonly string[];
  images: readonly ImageRecipe[];
  /** Makes the guest's files in `output`. */
  make(output: string, report: Report): Promise<void>;
}

/** Container disks belong to QEMU's user, as KubeVirt's do. */
const QEMU_USER = 107;

const tiny: Recipe = {
  name: 'tiny',
  sources: ['tiny', 'disk', 'tools', 'uncompressed-kernel.ts'],
  images: [
    {
      name: 'vmstead/guest-tiny',
      files: {
        '/boot/vmlinuz': 'vmlinuz',
        '/boot/vmlinux': 'vmlinux',
        '/boot/initrd.img': 'initrd.img',
      },
      owner: 0,
    },
    { name: 'vmstead/disk-tiny', files: { '/disk/disk.qcow2': 'disk.qcow2' }, owner: QEMU_USER },
  ],
  async make(output, report) {
    report('tiny guest: kernel and initrd');
    await runTools(
      output,
      report,
      'apt-get update -qq && sh /sources/tiny/build.sh /sources/tiny /output && sh /sources/tiny/build-disk.sh /sources/tiny /output',
    );
    const kernel = await readFile(join(output, 'vmlinuz'));
    await writeFile(join(output, 'vmlinux'), uncompressedKernel(kernel));
  },
};

const full: Recipe = {
  name: 'full',
  sources: ['full', 'disk', 'tools'],
  images: [{ name: 'vmstead/disk-debian', files: { '/disk/disk.qcow2': 'disk.qcow2' }, owner: QEMU_USER }],
  async make(output, report) {
    const image = `vmstead/guest-full-rootfs:${await hashOf(['full'])}`;
    const context = join(here, 'full');
    await docker(['build', '--network', 'host', '--rm', '--force-rm', '--tag', image, context], (line) => {
      if (line.startsWith('Step ')) report(`full guest: ${line}`);
    });
    report('full guest: disk');
    const container = (await docker(['create', image, '/none'])).trim();
    const archive = join(output, 'root.tar');
    try {
      await docker(['export', '--output', archive, container]);
    } finally {
      await docker(['rm', '--force', container]);
    }
    await runTools(output, report, 'sh /sources/full/build.sh /sources/full /output/root.tar /output');
    await rm(archive);
  },
};

/**
 * Builds the tiny guest unless it is there.
 *
 * @param cache folder that all checkouts of this machine share
 * @throws Error with Docker's or a tool's words
 */
export async function buildTinyGuest(cache: string, report: Report = () => {}): Promise<TinyGuest> {
  const { folder, images } = await ensure(tiny, cache, report);
  return {
    kernel: join(folder, 'vmlinuz'),
    uncompressedKernel: join(folder, 'vmlinux'),
    initrd: join(folder, 'initrd.img'),
    disk: join(folder, 'disk.qcow2'),
    kernelImage: images[0]!,
    diskImage: images[1]!,
  };
}

/** Builds the full guest unless it is there; as {@link buildTinyGuest}. */
export async function buildFullGuest(cache: string, report: Report = () => {}): Promise<FullGuest> {
  const { folder, images } = await ensure(full, cache, report);
  return { disk: join(folder, 'disk.qcow2'), diskImage: images[0]! };
}

/** Whether a guest is there, in the cache and in the Docker engine. */
export async function hasGuest(guest: 'tiny' | 'full', cache: string): Promise<boolean> {
  const recipe = guest === 'tiny' ? tiny : full;
  const { folder, key } = await placeOf(recipe, cache);
  if (!existsSync(folder)) return false;
  const found = await Promise.all(recipe.images.map(({ name }) => hasImage(`${name}:${key}`)));
  return found.every(Boolean);
}

async function placeOf(recipe: Recipe, cache: string): Promise<{ folder: string; key: string }> {
  const key = await hashOf(recipe.sources);
  return { folder: join(cache, 'guests', `${recipe.name}-${key}`), key };
}

async function ensure(
  recipe: Recipe,
  cache: string,
  report: Report,
): Promise<{ folder: string; images: GuestImage[] }> {
  const { folder, key } = await placeOf(recipe, cache);
  const images = recipe.images.map(({ name }) => ({
    reference: `${name}:${key}`,
    layout: join(folder, name.replaceAll('/', '_')),
  }));
  if (!existsSync(folder)) {
    await mkdir(join(cache, 'guests'), { recursive: true });
    const partial = await mkdtemp(join(cache, 'guests', `${recipe.name}.part-`));
    try {
      await recipe.make(partial, report);
      for (const image of recipe.images) {
        await writeOciLayout(join(partial, image.name.replaceAll('/', '_')), {
          references: [`${image.name}:${key}`, `${image.name}:dev`],
          files: Object.entries(image.files).map(
            ([path, source]): ImageFile => ({ path, source: join(partial, source) }),
          ),
          owner: image.owner,
        });
      }
      // Another process may have been quicker; what it made is the same.
      await rename(partial, folder).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
      });
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
  }
  for (const image of images) {
    if (!(await hasImage(image.reference))) await loadLayout(image.layout);
    await docker(['tag', image.reference, image.reference.replace(/:.*/, ':dev')]);
  }
  return { folder, images };
}

/** A short hash over the names, modes and contents of sources. */
async function hashOf(sources: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const source of sources) {
    for (const path of (await filesOf(join(here, source))).sort()) {
      const content = await readFile(path);
      const executable = ((await stat(path)).mode & 0o100) !== 0;
      hash.update(`${relative(here, path)}:${executable}:${content.length}:`).update(content);
    }
  }
  return hash.digest('hex').slice(0, 12);
}

async function filesOf(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}

/** Runs a shell command in the image that has the compiler and the disk tools. */
export async function runTools(output: string, report: Report, command: string): Promise<void> {
  const image = `vmstead/guest-tools:${await hashOf(['tools'])}`;
  if (!(await hasImage(image))) {
    await docker(
      ['build', '--network', 'host', '--rm', '--force-rm', '--tag', image, join(here, 'tools')],
      (line) => {
        if (line.startsWith('Step ')) report(`guest tools: ${line}`);
      },
    );
  }
  const owner = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  await docker([
    ...['run', '--rm', '--network', 'host', '--tmpfs', '/tmp:exec'],
    ...['--volume', `${here}:/sources:ro`, '--volume', `${output}:/output`],
    ...[image, 'sh', '-ec', `${command} && chown -R ${owner} /output`],
  ]);
}

/** Gives an OCI layout to the Docker engine. */
async function loadLayout(layout: string): Promise<void> {
  const archive = join(await mkdtemp(join(tmpdir(), 'vmstead-image-')), 'image.tar');
  try {
    const tar = spawn('tar', ['--directory', layout, '--create', '--file', archive, '.'], {
      stdio: 'inherit',
    });
    const code = await new Promise((resolve, reject) => tar.once('error', reject).once('close', resolve));
    if (code !== 0) throw new Error(`tar of ${layout} failed (exit code ${code})`);
    await docker(['load', '--input', archive]);
  } finally {
    await rm(join(archive, '..'), { recursive: true, force: true });
  }
}
