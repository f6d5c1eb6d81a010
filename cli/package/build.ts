/** kubectl-vm and vmstead as one npm package without dependencies, which Node starts several times faster than the sources. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { build, type OutputFile } from 'esbuild';
import { withoutApiCalls } from './client-node.ts';
import { licencesOf } from './licences.ts';

const root = join(import.meta.dirname, '../..');

/** Where the programs in cli/bin look for it. */
export const packageFolder = join(root, 'dist', 'cli');

export const PROGRAMS = ['kubectl-vm', 'kubectl_complete-vm', 'vmstead'] as const;

/** Packages that are CommonJS call `require`, which a module has not. */
const REQUIRE =
  "import { createRequire as requireFor } from 'node:module'; const require = requireFor(import.meta.url);";

interface ProjectPackage {
  name: string;
  version: string;
  description: string;
  license: string;
}

/** Writes the package to a folder, in the place of what was there. */
export async function buildPackage(folder: string): Promise<void> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: PROGRAMS.map((name) => `cli/entry/${name}.ts`),
    outdir: packageFolder,
    bundle: true,
    // What a command does is a file of its own, so that help and completion stay quick.
    splitting: true,
    chunkNames: 'lib/[name]-[hash]',
    write: false,
    platform: 'node',
    target: 'node22',
    format: 'esm',
    outExtension: { '.js': '.mjs' },
    banner: { js: `#!/usr/bin/env node\n${REQUIRE}` },
    minifySyntax: true,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    plugins: [withoutApiCalls],
    metafile: true,
    logLevel: 'error',
  });
  const project = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as ProjectPackage;
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, 'lib'), { recursive: true });
  // The programs last: by their times it is seen whether a source is newer.
  const write = (file: OutputFile) =>
    writeFile(join(folder, relative(packageFolder, file.path)), content(file));
  await Promise.all(outputFiles.filter(isLibrary).map(write));
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(manifest(project), null, 2)}\n`);
  await writeFile(
    join(folder, 'THIRD-PARTY-LICENCES.txt'),
    await licencesOf(root, Object.keys(metafile.inputs)),
  );
  await writeFile(join(folder, 'README.md'), await readFile(join(root, 'docs', 'cli.md')));
  await Promise.all(outputFiles.filter((file) => !isLibrary(file)).map(write));
  await Promise.all(PROGRAMS.map((name) => chmod(join(folder, `${name}.mjs`), 0o755)));
}

function isLibrary({ path }: OutputFile): boolean {
  return !PROGRAMS.some((name) => path.endsWith(`/${name}.mjs`));
}

/** Source maps name our files as the repository does, not relative to where they were built. */
function content({ path, contents, text }: OutputFile): Uint8Array | string {
  if (!path.endsWith('.map')) return contents;
  const map = JSON.parse(text) as { sources: string[] };
  return JSON.stringify({
    ...map,
    sources: map.sources.map((source) => `vmstead:///${source.replace(/^(\.\.\/)+/, '')}`),
  });
}

function manifest({ name, version, description, license }: ProjectPackage): Record<string, unknown> {
  return {
    ...{ name, version, description, license, type: 'module' },
    bin: Object.fromEntries(PROGRAMS.map((program) => [program, `${program}.mjs`])),
    engines: { node: '>=22' },
  };
}

/** Whether the package is there and newer than all that it is made of, as cli/start.sh sees it. */
export async function isBuilt(): Promise<boolean> {
  const script = 'root=$1; . "$root/cli/is-bundled.sh"; is_bundled';
  return await promisify(execFile)('sh', ['-c', script, 'sh', root]).then(
    () => true,
    () => false,
  );
}
