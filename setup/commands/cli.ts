import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { buildPackage, packageFolder } from '../../cli/package/build.ts';
import type { Given } from '../command-module.ts';
import { root } from '../paths.ts';

/** Bundles kubectl-vm and vmstead where cli/bin finds them; with `--pack` as what npm installs on another machine. */
export async function run({ values }: Given): Promise<number> {
  await buildPackage(packageFolder);
  console.log(relative(process.cwd(), packageFolder));
  if (!values.pack) return 0;
  const folder = join(root, 'dist');
  await mkdir(folder, { recursive: true });
  const { stdout } = await promisify(execFile)('npm', [
    ...['pack', packageFolder, '--pack-destination', folder, '--silent'],
  ]);
  const tarball = relative(process.cwd(), join(folder, stdout.trim()));
  console.log(`${tarball}\nOn another machine: npm install --global ${stdout.trim()}`);
  return 0;
}
