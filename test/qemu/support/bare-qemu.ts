/** A QEMU by hand, with no launcher around it: for tests of the guests themselves. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { docker } from '../../../images/docker.ts';

const IMAGE = 'vmstead/qemu:dev';

interface Options {
  /** Arguments after those that every machine here has. */
  args: readonly string[];
  /** Folders of this machine and where QEMU sees them. */
  mounts: Record<string, string>;
  /** Run before QEMU, by sh, in the same container. */
  prepare?: string;
  memoryMiB?: number;
}

export class BareQemu implements AsyncDisposable {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly name: string;
  private read = 0;
  /** What the guest wrote on its serial line so far, and QEMU's own complaints. */
  log = '';
  readonly exited: Promise<number | null>;

  constructor(options: Options) {
    this.name = `vmstead-test-${randomUUID()}`;
    const mounts = Object.entries(options.mounts).flatMap(([from, to]) => ['--volume', `${from}:${to}`]);
    this.child = spawn('docker', [
      ...[
        'run',
        '--rm',
        '--interactive',
        '--network=none',
        '--user=0',
        '--name',
        this.name,
        ...mounts,
        IMAGE,
      ],
      ...['sh', '-ec', `${options.prepare ?? ':'}; exec qemu-system-x86_64 "$@"`, 'qemu'],
      ...['-nodefaults', '-no-user-config', '-machine', 'q35', '-accel', 'tcg,tb-size=128', '-cpu', 'max'],
      ...['-m', String(options.memoryMiB ?? 192), '-display', 'none', '-serial', 'stdio'],
      ...['-qmp', 'unix:/tmp/qmp,server=on,wait=off', ...options.args],
    ]);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
      });
    }
    this.exited = new Promise((resolve) => this.child.once('exit', resolve));
  }

  /** Waits for a line that the guest writes after the last one waited for. @throws Error with the log's end */
  async says(pattern: RegExp, timeout = 50_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeout;
    for (;;) {
      const found = pattern.exec(this.log.slice(this.read));
      if (found !== null) {
        this.read += found.index + found[0].length;
        return found;
      }
      if (Date.now() > deadline || this.child.exitCode !== null) {
        throw new Error(`the guest never said ${pattern}; the end of its log:\n${this.log.slice(-1500)}`);
      }
      await sleep(20);
    }
  }

  type(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  /** Runs a QMP command. */
  async qmp(command: string): Promise<string> {
    return await this.ask('/tmp/qmp', ['{"execute":"qmp_capabilities"}', `{"execute":"${command}"}`], 3);
  }

  /** Writes lines to a socket in QEMU's container (a path, or a TCP port) and returns so many lines of answer. */
  async ask(socket: string, lines: readonly string[], answers: number): Promise<string> {
    const program = `
      const at = process.argv[1]; const s = require('net').connect(/^[0-9]+$/.test(at) ? Number(at) : at); let text = '';
      s.on('data', (d) => { text += d; if (text.split('\\n').length > ${answers}) { console.log(text); process.exit(); } });
      s.write(process.argv[2]);`;
    const answer = await docker([
      'exec',
      this.name,
      'node',
      '-e',
      program,
      socket,
      lines.map((line) => `${line}\n`).join(''),
    ]);
    return answer.trim();
  }

  /** Power cut. */
  async kill(): Promise<void> {
    await docker(['kill', '--signal=KILL', this.name]).catch(() => {}); // it may just have ended
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** UEFI with a variable store of its own. */
export const uefiFirmware = {
  prepare: 'cp /usr/share/OVMF/OVMF_VARS_4M.fd /tmp/vars.fd',
  args: [
    ...['-drive', 'if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd'],
    ...['-drive', 'if=pflash,format=raw,file=/tmp/vars.fd'],
  ],
};

/** What is written to the image at /disk.qcow2 goes with the container. */
export const rootDisk = {
  prepare: 'qemu-img create -q -f qcow2 -b /disk.qcow2 -F qcow2 /tmp/disk.qcow2',
  args: [
    '-blockdev',
    '{"driver":"qcow2","node-name":"root","file":{"driver":"file","filename":"/tmp/disk.qcow2"}}',
    ...['-device', 'virtio-blk-pci,drive=root,bootindex=1'],
  ],
};
