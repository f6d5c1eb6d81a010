/** Images without a container runtime: an OCI layout unpacked, a folder as it is, or Docker's copy. */
import { execFile } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { VmsteadError } from '../../crds/errors.ts';

const run = promisify(execFile);

interface Descriptor {
  mediaType?: string;
  digest: string;
}

/**
 * The files of an image as a folder: the one given if it holds them already, else unpacked into `into`.
 * Throws VmsteadError Usage.
 */
export async function imageFolder(
  reference: string,
  given: string | undefined,
  into: string,
): Promise<string> {
  if (given === undefined) return await fromDocker(reference, into);
  if (!existsSync(given))
    throw new VmsteadError('Usage', `--image ${reference}: there is no folder ${given}`);
  if (!existsSync(join(given, 'oci-layout'))) return given;
  await unpackLayout(given, into);
  return into;
}

async function fromDocker(reference: string, into: string): Promise<string> {
  mkdirSync(into, { recursive: true });
  try {
    // Images that hold only a disk or a kernel have no command of their own.
    const { stdout } = await run('docker', ['create', reference, '/none']);
    const container = stdout.trim();
    try {
      await run('sh', ['-c', 'docker export "$1" | tar -x -C "$2"', 'sh', container, into]);
    } finally {
      await run('docker', ['rm', container]);
    }
    return into;
  } catch (error) {
    throw new VmsteadError(
      'Usage',
      `image ${reference}: give its files with --image ${reference}=FOLDER (an OCI layout, or unpacked); no Docker engine here has it`,
      { cause: error },
    );
  }
}

function blob(layout: string, digest: string): string {
  const match = /^(sha256|sha512):([0-9a-f]+)$/.exec(digest);
  if (match === null)
    throw new VmsteadError('Usage', `the OCI layout ${layout} has a digest that is none: ${digest}`);
  return join(layout, 'blobs', match[1]!, match[2]!);
}

function readJson<T>(layout: string, path: string): T {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch (error) {
    throw new VmsteadError('Usage', `the OCI layout ${layout} is broken: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The manifest of this machine's platform, through indexes of indexes. */
function manifestOf(layout: string): { layers: Descriptor[] } {
  interface Index {
    manifests?: (Descriptor & { platform?: { architecture: string; os: string } })[];
    layers?: Descriptor[];
  }
  let document = readJson<Index>(layout, join(layout, 'index.json'));
  for (let depth = 0; depth < 4 && document.manifests !== undefined; depth++) {
    const fits = document.manifests.find(
      ({ platform }) =>
        platform === undefined || (platform.architecture === 'amd64' && platform.os === 'linux'),
    );
    if (fits === undefined) break;
    document = readJson<Index>(layout, blob(layout, fits.digest));
  }
  if (document.layers === undefined) {
    throw new VmsteadError('Usage', `the OCI layout ${layout} has no image for linux/amd64`);
  }
  return { layers: document.layers };
}

/** Layers in their order; a whiteout removes what a lower layer had. */
async function unpackLayout(layout: string, into: string): Promise<void> {
  mkdirSync(into, { recursive: true });
  for (const { digest } of manifestOf(layout).layers) {
    // tar itself keeps every path inside the folder.
    await run('tar', ['--extract', '--no-same-owner', '--directory', into, '--file', blob(layout, digest)]);
    for (const found of globSync('**/.wh.*', { cwd: into })) {
      const name = basename(found).slice('.wh.'.length);
      if (name !== '.wh..opq') rmSync(join(into, dirname(found), name), { recursive: true, force: true });
      rmSync(join(into, found), { force: true });
    }
  }
}
