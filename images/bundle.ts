/** Turns a part of Vmstead into one CommonJS file, which Node starts several times faster than the sources. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');

export interface Bundle {
  /** The program, as CommonJS. */
  code: Uint8Array;
  /** Licences of the packages in it. */
  licences: Uint8Array;
}

/** The version in package.json, which every part reports as its own. */
export async function projectVersion(): Promise<string> {
  const text = await readFile(join(root, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/**
 * Bundles one entry point for Node 24.
 *
 * @param entry path below the project's folder, such as `launcher/main.ts`; it must not await at its top level
 */
export async function bundle(entry: string): Promise<Bundle> {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outdir: 'out',
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'external',
    // Loaded for a kubeconfig only, which no pod has; its 2 MB of source would stay in memory.
    external: ['@kubernetes/client-node'],
    // Of a launcher there is one for each VM.
    alias: entry.startsWith('launcher/') ? { zod: './crds/lean-zod.ts' } : {},
    // A bundle is always the program itself.
    define: {
      'import.meta.main': 'true',
      'process.env.VMSTEAD_VERSION': JSON.stringify(await projectVersion()),
    },
    logLevel: 'error',
  });
  const find = (end: string) => result.outputFiles.find((file) => file.path.endsWith(end))?.contents;
  return { code: find('.cjs') ?? new Uint8Array(), licences: find('.LEGAL.txt') ?? new Uint8Array() };
}
