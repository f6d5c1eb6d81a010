/** The package as somebody installs it, and the programs in cli/bin. */
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPackage, PROGRAMS } from './build.ts';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);
let folder: string;
/** `node` is the one that the tests run with; there is no kubeconfig. */
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vmstead-package-'));
  env = {
    ...process.env,
    PATH: [join(folder, 'installed', 'bin'), dirname(process.execPath), process.env.PATH].join(delimiter),
    HOME: folder,
    XDG_CACHE_HOME: join(folder, 'cache'),
    KUBECONFIG: join(folder, 'none'),
  };
  await buildPackage(join(folder, 'package'));
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the package', () => {
  interface Packed {
    filename: string;
    unpackedSize: number;
    files: { path: string }[];
  }
  let packed: Packed;
  beforeAll(async () => {
    const { stdout } = await run('npm', ['pack', '--json', join(folder, 'package')], { cwd: folder, env });
    packed = Object.values(JSON.parse(stdout) as Record<string, Packed>)[0]!;
    const prefix = join(folder, 'installed');
    await run(
      'npm',
      ['install', '--global', '--offline', `--prefix=${prefix}`, join(folder, packed.filename)],
      {
        env,
      },
    );
  }, 60_000);

  it('has only what is needed', () => {
    const others = packed.files
      .map(({ path }) => path)
      .filter((path) => !/^lib\/[\w-]+\.mjs(\.map)?$/.test(path))
      .sort();
    expect(others).toEqual(
      [
        ...PROGRAMS.flatMap((name) => [`${name}.mjs`, `${name}.mjs.map`]),
        ...['README.md', 'THIRD-PARTY-LICENCES.txt', 'package.json'],
      ].sort(),
    );
    expect(packed.unpackedSize).toBeLessThan(3_000_000);
  });

  it('needs no other package', () => {
    const manifest = JSON.parse(readFileSync(join(folder, 'package', 'package.json'), 'utf8'));
    expect(manifest).not.toHaveProperty('dependencies');
    expect(manifest.bin).toEqual(Object.fromEntries(PROGRAMS.map((name) => [name, `${name}.mjs`])));
  });

  it('names the licence of every package in it', () => {
    const text = readFileSync(join(folder, 'package', 'THIRD-PARTY-LICENCES.txt'), 'utf8');
    for (const name of ['@kubernetes/client-node', 'js-yaml', 'openid-client', 'ws', 'yaml', 'zod']) {
      expect(text).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(`, 'm'));
    }
  });

  it('runs where npm put it', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    const { stdout } = await run('kubectl-vm', ['version', '--client'], { env });
    expect(stdout).toBe(`kubectl-vm  ${version}\n`);
    expect((await run('kubectl_complete-vm', ['sto'], { env })).stdout).toMatch(/^stop\t/);
    expect((await run('vmstead', ['run', '--help'], { env })).stdout).toContain('Usage: vmstead run FILE');
  });

  it('reads a kubeconfig and tells where a mistake was made when it is asked', async () => {
    const kubeconfig = join(folder, 'kubeconfig');
    writeFileSync(kubeconfig, 'clusters: 1\n');
    const failing = (more: NodeJS.ProcessEnv) =>
      run('kubectl-vm', ['describe'], { env: { ...env, KUBECONFIG: kubeconfig, ...more } }).then(
        () => 'no error',
        (error: { stderr: string }) => error.stderr,
      );
    expect(await failing({})).toMatch(/^kubectl vm: .*\(KubeconfigUnusable\)\n$/);
    expect(await failing({ VMSTEAD_DEBUG: '1' })).toMatch(
      /at connect2? \(vmstead:\/{2,3}cli\/cluster\.ts:\d+:\d+\)/,
    );
  });
});

describe('a program in cli/bin', () => {
  it('runs the bundle unless a source is newer', async () => {
    const checkout = join(folder, 'checkout');
    await mkdir(join(checkout, 'dist', 'cli'), { recursive: true });
    await mkdir(join(checkout, 'cli', 'entry'), { recursive: true });
    for (const name of ['bin', 'start.sh', 'is-bundled.sh']) {
      cpSync(join(root, 'cli', name), join(checkout, 'cli', name), { recursive: true });
    }
    for (const name of ['crds', 'operator', 'launcher', 'agent']) await mkdir(join(checkout, name));
    writeFileSync(join(checkout, 'package-lock.json'), '');
    symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'));
    const source = join(checkout, 'cli', 'entry', 'vmstead.ts');
    const bundles = ['vmstead', 'kubectl-vm'].map((name) => join(checkout, 'dist', 'cli', `${name}.mjs`));
    writeFileSync(source, 'console.log("sources", ...process.argv.slice(2));');
    const link = join(folder, 'link');
    symlinkSync(join(checkout, 'cli', 'bin', 'vmstead'), link);
    const says = async () => (await run(link, ['a', 'b c'], { env })).stdout;
    expect(await says()).toBe('sources a b c\n');
    for (const path of bundles) writeFileSync(path, 'console.log("bundle", ...process.argv.slice(2));');
    const later = new Date(Date.now() + 60_000);
    for (const path of bundles) utimesSync(path, later, later);
    expect(await says()).toBe('bundle a b c\n');
    const evenLater = new Date(Date.now() + 120_000);
    utimesSync(source, evenLater, evenLater);
    expect(await says()).toBe('sources a b c\n');
  });
});
