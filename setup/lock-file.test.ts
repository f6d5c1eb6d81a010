import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from './paths.ts';

interface Locked {
  version: string;
  integrity?: string;
  optional?: true;
  os?: string[];
  cpu?: string[];
  libc?: string[];
}
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Locked>;
};

/** Whether npm would install an optional package where Vmstead runs: Linux on amd64 with glibc. */
function isOurs({ os = ['linux'], cpu = ['x64'], libc = ['glibc'] }: Locked): boolean {
  return os.includes('linux') && cpu.includes('x64') && libc.includes('glibc');
}

it('says for every package that is installed here what must be in it', () => {
  const without = Object.entries(packages).filter(([path, { integrity }]) => path !== '' && !integrity);
  // Those of other platforms are named, so that npm ci takes the file there too, without a hash.
  expect(without.filter(([, locked]) => !locked.optional || isOurs(locked)).map(([path]) => path)).toEqual(
    [],
  );
});

it('has only strong hashes', () => {
  for (const [path, { integrity }] of Object.entries(packages)) {
    if (integrity !== undefined) expect(integrity, path).toMatch(/^sha512-/);
  }
});
