/** `vmstead run`: the README's manifest, with an OCI layout for its image, as a person without root. */
import { execFile, spawn } from 'node:child_process';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { root } from '../../setup/paths.ts';
import { tinyGuest } from './support/launcher.ts';

const run = promisify(execFile);
const IMAGE = process.env.VMSTEAD_QEMU_IMAGE ?? 'vmstead/qemu:dev';

/** `docker run` for a person's machine that has QEMU: the image's own. */
async function machine(entrypoint: string, ...words: string[]): Promise<string[]> {
  const { kernelImage } = await tinyGuest();
  const layout = kernelImage.layout;
  return [
    ...['run', '--rm', '--interactive', '--network=none', '--user=1000:1000', '--tmpfs=/tmp:mode=1777,exec'],
    // The folder above is root's alone.
    ...[`--volume=${layout}:/layouts/${basename(layout)}:ro`, `--volume=${root}:/vmstead:ro`],
    ...[`--entrypoint=${entrypoint}`, IMAGE, ...words],
    ...['/vmstead/cli/run/main.ts', 'run', '/vmstead/examples/vm.yaml'],
    ...['--image', `vmstead/guest-tiny:dev=/layouts/${basename(layout)}`],
  ];
}

/** The command as a person has it. */
const command = async (...args: string[]) => [...(await machine('node')), ...args];

test('--dry-run prints QEMU’s command line', async () => {
  const { stdout } = await run('docker', await command('--dry-run'));
  expect(stdout).toMatch(/^qemu-system-x86_64 \\\n/);
  expect(stdout).toContain('-machine pc-q35-10.0,');
  expect(stdout).toMatch(/-kernel \S+\/boot\/vmlinuz/);
  expect(stdout).toContain('tcp:127.0.0.1:10080-:80');
});

test('the console works, Ctrl-] shuts the guest down cleanly', { timeout: 120_000 }, async () => {
  const child = spawn('docker', await command(), { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const says = (pattern: RegExp) => expect.poll(() => output, { timeout: 60_000 }).toMatch(pattern);
  try {
    await says(/VMSTEAD-GUEST-UP/);
    await says(/guest# /);
    child.stdin.write('echo sum-$((40+2))\n');
    await says(/sum-42/);
    child.stdin.write('\x1d');
    expect(await ended).toBe(0);
    expect(output).toContain('VMSTEAD-POWER-BUTTON');
    expect(output).toContain('the guest powered itself off when it was asked to');
  } finally {
    child.kill();
  }
});

/** Kills the command once a line comes in; says before and after whether a QEMU runs. A zombie has no words. */
const KILL_IT = `
  "$@" < /dev/null & pid=$!
  look() { grep -lsa 'qemu-[s]ystem' /proc/[0-9]*/cmdline > /dev/null && echo "$1: runs" || echo "$1: gone"; }
  read _; look before; kill -KILL $pid; sleep 3; look after`;

test('QEMU ends with a command that is killed', { timeout: 120_000 }, async () => {
  const child = spawn('docker', await machine('sh', '-c', KILL_IT, 'sh', 'node'), {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  try {
    await expect.poll(() => output, { timeout: 60_000 }).toContain('VMSTEAD-GUEST-UP');
    child.stdin.write('\n');
    await ended;
    expect(output).toContain('before: runs');
    expect(output).toContain('after: gone');
  } finally {
    child.kill();
  }
});
