/** A launcher as its pod has it: the real image, user 107, no rights, a read-only root, tini, supervise. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { MachineDescription, TerminationMessage } from '../../../crds/machine-description.ts';
import { buildImages } from '../../../images/build.ts';
import { docker } from '../../../images/docker.ts';
import { buildTinyGuest, type TinyGuest } from '../../../images/guests/build.ts';
import { cacheDirectory } from '../../../setup/paths.ts';

const run = promisify(execFile);

interface LauncherOptions {
  /** Kernel and initial RAM disk, mounted at /kernel. */
  guest: Pick<TinyGuest, 'kernel' | 'initrd'>;
  /** Further arguments of `docker run`. */
  docker?: string[];
  env?: Record<string, string>;
  /** Folder to use for disks; a fresh one otherwise. */
  disks?: string;
  /** Folder to use for the state; a fresh one otherwise. */
  state?: string;
  /** What `supervise` runs, in place of the launcher. */
  command?: string[];
  /** Puts further files beside machine.json. */
  prepare?: (etc: string) => Promise<void>;
}

export interface Ended {
  exitCode: number;
  message: TerminationMessage;
}

/** The tiny guest, which the set-up has made. */
export async function tinyGuest(): Promise<TinyGuest> {
  return await buildTinyGuest(cacheDirectory);
}

/** A small machine that boots the tiny guest. */
export function machine(commandLine = '', changes: Partial<MachineDescription> = {}): MachineDescription {
  return {
    version: 1,
    vm: { namespace: 'default', name: 'test', uid: '0b54a53e-0000-4000-8000-000000000001' },
    incarnation: 1,
    hostname: 'test',
    uuid: '6b0a5c1e-9a4f-4e0e-8f43-0b8a3a8f3a10',
    machineType: 'pc-q35-10.0',
    accelerator: 'tcg',
    translationBufferMiB: 64,
    cpu: { model: 'max', sockets: 1, cores: 1, threads: 1 },
    memoryMiB: 192,
    firmware: { type: 'BIOS' },
    kernel: {
      path: '/kernel/vmlinuz',
      initrd: '/kernel/initrd.img',
      commandLine: `console=ttyS0 quiet panic=-1 no_timer_check ${commandLine}`.trim(),
    },
    disks: [],
    networks: [],
    hotplugPorts: 4,
    terminationGracePeriodSeconds: 30,
    ...changes,
  };
}

export function fileDisk(name: string, maxBytes = 64 * 1024 * 1024): MachineDescription['disks'][number] {
  return {
    name,
    device: 'disk',
    bus: 'virtio',
    serial: name,
    readOnly: false,
    backend: { type: 'file', path: `/disks/${name}/disk.img`, format: 'raw', create: { maxBytes } },
  };
}

export class Launcher implements AsyncDisposable {
  readonly container: string;
  /** This machine's folder with the machine description, the termination message and the disks. */
  readonly folder: string;
  readonly disks: string;
  /** What guest and launcher have said up to now, a moment late. */
  readonly heard = { guest: '', launcher: '' };
  /** One process for as long as the container lives: asking anew each time costs more than a small guest does. */
  private readonly follower: ChildProcess;
  private readonly heardAll: Promise<unknown>;

  private constructor(container: string, folder: string, disks: string) {
    this.container = container;
    this.folder = folder;
    this.disks = disks;
    const follower = spawn('docker', ['logs', '--follow', container], { stdio: ['ignore', 'pipe', 'pipe'] });
    follower.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.heard.guest += text;
    });
    follower.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.heard.launcher += text;
    });
    this.follower = follower;
    this.heardAll = new Promise((resolve) => follower.once('close', resolve));
  }

  static async start(description: MachineDescription, options: LauncherOptions): Promise<Launcher> {
    const launcher = process.env.VMSTEAD_LAUNCHER_IMAGE ?? (await buildImages()).launcher;
    const folder = await mkdtemp(join(tmpdir(), 'vmstead-launcher-'));
    await chmod(folder, 0o755);
    const disks = options.disks ?? join(folder, 'disks');
    for (const disk of description.disks) {
      await mkdir(join(disks, disk.name), { recursive: true });
      await chmod(join(disks, disk.name), 0o777);
    }
    await mkdir(disks, { recursive: true });
    const state = options.state ?? join(folder, 'state');
    await mkdir(state, { recursive: true });
    await chmod(state, 0o777);
    await mkdir(join(folder, 'etc'));
    await writeFile(join(folder, 'etc', 'machine.json'), JSON.stringify(description));
    await options.prepare?.(join(folder, 'etc'));
    await writeFile(join(folder, 'termination-log'), '');
    await chmod(join(folder, 'termination-log'), 0o666);
    const tmpfs = ['/run/vmstead', '/var/lib/vmstead', '/tmp'].flatMap((path) => [
      '--tmpfs',
      `${path}:mode=1777`,
    ]);
    const mounts = [
      [options.guest.kernel, '/kernel/vmlinuz:ro'],
      [options.guest.initrd, '/kernel/initrd.img:ro'],
      [join(folder, 'etc'), '/etc/vmstead:ro'],
      [join(folder, 'termination-log'), '/dev/termination-log'],
      [disks, '/disks'],
      [state, '/state'],
    ].flatMap(([from, to]) => ['--volume', `${from}:${to}`]);
    const env = Object.entries(options.env ?? {}).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
    const container = await docker([
      'run',
      '--detach',
      ...(options.docker?.some((each) => each.startsWith('--network=')) ? [] : ['--network=none']),
      '--sysctl=net.ipv4.ip_unprivileged_port_start=0',
      '--cap-drop=ALL',
      '--security-opt=no-new-privileges',
      '--read-only',
      ...tmpfs,
      ...mounts,
      ...env,
      ...(options.docker ?? []),
      '--entrypoint=/usr/bin/tini',
      launcher,
      '--',
      '/usr/lib/vmstead/supervise',
      ...(options.command ?? []),
    ]);
    return new Launcher(container.trim(), folder, disks);
  }

  /** The guest's serial console, as `kubectl logs` has it, and the launcher's own lines. */
  async logs(): Promise<{ guest: string; launcher: string }> {
    const { stdout, stderr } = await run('docker', ['logs', this.container], { maxBuffer: 64 * 1024 * 1024 });
    return { guest: stdout, launcher: stderr };
  }

  /** Waits until the guest has written `pattern`, `count` times. */
  async guestSays(pattern: RegExp, count = 1, seconds = 30): Promise<RegExpMatchArray[]> {
    const deadline = Date.now() + seconds * 1000;
    const all = new RegExp(pattern.source, `${pattern.flags.replace('g', '')}g`);
    for (;;) {
      const { guest, launcher } = this.heard;
      const found = [...guest.matchAll(all)];
      if (found.length >= count) return found;
      if (Date.now() > deadline || launcher.includes('"the VM ended"')) {
        throw new Error(`the guest did not say ${pattern} within ${seconds} s:\n${guest}\n${launcher}`);
      }
      await sleep(50);
    }
  }

  async sh(script: string): Promise<string> {
    return await docker(['exec', this.container, 'sh', '-c', script]);
  }

  /** Types a line as a viewer of the console does. */
  async typeIntoConsole(line: string): Promise<void> {
    const script = `const socket = require('net').connect('/run/vmstead/viewers.sock');
      setTimeout(() => socket.write(process.argv[1] + '\\n'), 300);
      setTimeout(() => process.exit(0), 600);`;
    await docker(['exec', this.container, 'node', '-e', script, line]).catch((error: unknown) => {
      // A guest that powers off at once ends the container, and this program with it.
      if (!String(error).includes('exit code 137')) throw error;
    });
  }

  /** Sends a signal to all processes of that program. */
  async kill(program: 'node' | 'qemu-system-x86_64' | 'supervise', signal = 'KILL'): Promise<void> {
    // The program, or the script that a shell runs.
    await this.sh(
      `for p in /proc/[0-9]*; do case "$(tr '\\0' ' ' <$p/cmdline 2>/dev/null)" in
         ${program}\\ *|*/${program}\\ *|*/${program}) [ "\${p#/proc/}" = 1 ] || kill -${signal} "\${p#/proc/}";; esac; done; true`,
    );
  }

  async life(): Promise<Record<string, unknown>> {
    return JSON.parse(await this.sh('cat /run/vmstead/life.json')) as Record<string, unknown>;
  }

  /** Number of QEMU processes in the pod. */
  async qemus(): Promise<number> {
    return Number(await this.sh('grep -lz "^qemu-system" /proc/[0-9]*/cmdline 2>/dev/null | wc -l'));
  }

  /** As the kubelet stops a pod: SIGTERM to PID 1, SIGKILL at the end of the grace period. */
  async stop(graceSeconds: number): Promise<Ended> {
    await docker(['stop', '--time', String(graceSeconds), this.container]);
    return await this.ended();
  }

  async ended(seconds = 30): Promise<Ended> {
    const late = sleep(seconds * 1000, 'late', { ref: false });
    const code = await Promise.race([docker(['wait', this.container]), late]);
    if (code === 'late') {
      throw new Error(`the launcher did not end:\n${(await this.logs()).launcher}`);
    }
    await this.heardAll;
    const text = await readFile(join(this.folder, 'termination-log'), 'utf8');
    if (text === '')
      throw new Error(`no termination message; exit code ${code}: ${(await this.logs()).launcher}`);
    return { exitCode: Number(code), message: JSON.parse(text) as TerminationMessage };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await docker(['rm', '--force', '--volumes', this.container]);
    this.follower.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}
