/** A mover as its pod has it: the real image, user 107, no rights, a read-only root; and QEMU's tools beside it. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MoverJob, MoverResult } from '../../../crds/mover.ts';
import { buildImages } from '../../../images/build.ts';
import { docker } from '../../../images/docker.ts';

const run = promisify(execFile);

/** The folder of the host, as the container sees it. */
export const WORK = '/files';

export class MoverBox implements AsyncDisposable {
  /** On the host. */
  readonly directory: string;
  private readonly container: string;
  private jobs = 0;

  private constructor(directory: string, container: string) {
    this.directory = directory;
    this.container = container;
  }

  /** @param options further arguments of `docker run` */
  static async open(options: string[] = []): Promise<MoverBox> {
    const { launcher } = await buildImages();
    const directory = await mkdtemp(join(tmpdir(), 'vmstead-mover-'));
    await chmod(directory, 0o777);
    // Movers are the container's processes, not its first one: it outlives them.
    const id = await docker([
      ...['run', '--detach', '--rm', '--network=host', '--user=107:107', '--read-only', '--cap-drop=ALL'],
      ...['--security-opt=no-new-privileges', '--tmpfs=/tmp', `--volume=${directory}:${WORK}`, ...options],
      ...['--entrypoint=/usr/bin/tini', launcher, '--', 'sleep', '3600'],
    ]);
    return new MoverBox(directory, id.trim());
  }

  /** Runs a shell script in the container's work folder; rejects unless it exits with 0. */
  async sh(script: string): Promise<string> {
    const args = ['exec', `--workdir=${WORK}`, this.container, 'sh', '-ec', `umask 000\n${script}`];
    const { stdout } = await run('docker', args, { maxBuffer: 16 * 1024 * 1024 });
    return stdout;
  }

  /**
   * Runs a mover; `target` is a folder that is made when it is not there.
   *
   * @param killAfter milliseconds after which it is killed by SIGKILL, unless it has ended: then undefined
   */
  async move(
    source: MoverJob['source'],
    target: string,
    changes: Partial<MoverJob> = {},
    killAfter?: number,
  ): Promise<MoverResult | undefined> {
    await mkdir(join(this.directory, target), { recursive: true });
    await chmod(join(this.directory, target), 0o777);
    const name = `job-${++this.jobs}`;
    const job: MoverJob = {
      version: 1,
      image: { namespace: 'default', name: 'test', uid: 'uid-1' },
      attempt: 1,
      source,
      target: { type: 'file', directory: `${WORK}/${target}` },
      maxVirtualBytes: 1024 ** 3,
      ...changes,
    };
    await writeFile(join(this.directory, name), JSON.stringify(job));
    const end =
      killAfter === undefined
        ? 'wait $pid || true'
        : `sleep ${killAfter / 1000}; kill -KILL $pid 2>/dev/null || true; wait $pid || true`;
    await this.sh(
      `VMSTEAD_JOB=${name} VMSTEAD_TERMINATION_LOG=${name}.result /usr/lib/vmstead/mover 2>${name}.log & pid=$!; ${end}`,
    );
    try {
      return JSON.parse(await readFile(join(this.directory, `${name}.result`), 'utf8')) as MoverResult;
    } catch {
      if (killAfter !== undefined) return undefined;
      throw new Error(await readFile(join(this.directory, `${name}.log`), 'utf8'));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await docker(['kill', this.container]);
    await rm(this.directory, { recursive: true, force: true });
  }
}
