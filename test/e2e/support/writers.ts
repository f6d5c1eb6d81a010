/**
 * Counts who writes to a disk, without asking any part of Vmstead: every QEMU and qemu-storage-daemon on every node, by the
 * files and devices that it holds open for writing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster, NodeHandle } from '../../cluster/provider.ts';

export interface Writer {
  node: string;
  pid: number;
  /** The same for one disk however it is reached: device numbers of a device, else file system and inode. */
  disk: string;
  path: string;
  /** QEMU was told that others write to a disk of its VM as well. */
  shares: boolean;
}

/**
 * One line for each file or block device that a QEMU has open for writing. It runs all the time beside the tests: a
 * process for each file of each process would be half a core.
 */
const SCRIPT = `
for pid in $(find /proc/[0-9]*/exe -maxdepth 0 \\( -lname '*qemu-system*' -o -lname '*qemu-storage-daemon*' \\) 2> /dev/null | cut -d / -f 3); do
  shares=no; grep -qsF '"share-rw":true' /proc/$pid/cmdline && shares=yes
  for fd in $(find /proc/$pid/fd -maxdepth 1 -lname '/*' -printf '%f ' 2> /dev/null); do
    while read -r key flags; do [[ $key != flags: ]] || break; done 2> /dev/null < /proc/$pid/fdinfo/$fd || continue
    case $flags in *1|*2) ;; *) continue;; esac
    stat -L -c "$pid|$shares|%F|%d:%i|%t:%T|$(readlink /proc/$pid/fd/$fd)" /proc/$pid/fd/$fd 2> /dev/null
  done
done; true`;

export async function writersOn(node: NodeHandle): Promise<Writer[]> {
  const { stdout, exitCode, stderr } = await node.exec(SCRIPT);
  if (exitCode !== 0) throw new Error(`writers on ${node.name}: ${stderr}`);
  return stdout
    .split('\n')
    .map((line) => line.split('|'))
    .flatMap(([pid, shares, type, inode, device, path = '']) => {
      const disk = { 'block special file': `device ${device}`, 'regular file': `inode ${inode}` }[type ?? ''];
      return disk === undefined ? [] : [{ pid: Number(pid), shares: shares === 'yes', disk, path }];
    })
    .map((writer) => ({ ...writer, node: node.name }));
}

/** Disks with more than one writing process, one sentence each. */
function conflicts(writers: readonly Writer[]): string[] {
  const byDisk = Map.groupBy(writers, ({ disk }) => disk);
  return [...byDisk.values()]
    .filter((list) => new Set(list.map(({ node, pid }) => `${node}/${pid}`)).size > 1)
    .filter((list) => !list.every(({ shares }) => shares))
    .map((list) => {
      const who = list.map(({ node, pid }) => `${pid} on ${node}`).join(' and ');
      return `QEMU ${who} write to the same disk ${list[0]!.path} (${list[0]!.disk})`;
    });
}

/** Looks at all nodes again and again; `check` fails when two were ever seen on one disk. */
export class WriterWatch implements AsyncDisposable {
  readonly #problems = new Set<string>();
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;
  #looks = 0;
  #seen = 0;

  constructor(cluster: Cluster) {
    this.#loop = this.#run(cluster);
  }

  async #run(cluster: Cluster): Promise<void> {
    while (!this.#stop.signal.aborted) {
      // A node that is off has no writers; one that cannot be asked is asked again.
      const lists = await Promise.all(cluster.nodes.map((node) => writersOn(node).catch(() => [])));
      const writers = lists.flat();
      for (const problem of conflicts(writers)) this.#problems.add(problem);
      this.#looks++;
      this.#seen = Math.max(this.#seen, writers.length);
      await sleep(700, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  /** @throws Error when two QEMUs wrote to one disk, or when no writer was ever seen: then nothing was checked. */
  check(): void {
    if (this.#looks === 0 || this.#seen === 0)
      throw new Error('the writer watch never saw a QEMU with a disk');
    if (this.#problems.size > 0) throw new Error([...this.#problems].join('\n'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }
}
