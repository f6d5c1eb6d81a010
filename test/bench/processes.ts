/** Memory and CPU of the processes of pods, read on their node. */
import type { Pod } from '../../operator/kube/resources.ts';
import type { Cluster } from '../cluster/provider.ts';

export interface Process {
  podUid: string;
  /** First word of its command line, without folders. */
  program: string;
  /** KiB. https://www.kernel.org/doc/html/latest/filesystems/proc.html, smaps_rollup */
  pss: number;
  /** KiB that only this process has: clean and dirty. */
  private: number;
  /** Seconds of CPU since it started, its ended children's included. */
  cpuSeconds: number;
}

/** One line a process: pod's UID, program, PSS, private, ticks of CPU. The pause container is the runtime's own. */
const READ = `
cd /proc
for pid in [0-9]*; do
  uid=$(sed -n 's#.*/pod\\([0-9a-f-]\\{36\\}\\)/.*#\\1#p' $pid/cgroup 2>/dev/null | head -n 1)
  [ -n "$uid" ] || continue
  program=$(tr '\\0' ' ' <$pid/cmdline 2>/dev/null | cut -d ' ' -f 1)
  [ -n "$program" ] && [ "$program" != /pause ] || continue
  memory=$(awk '/^Pss:/ {pss = $2} /^Private_(Clean|Dirty):/ {private += $2} END {print pss + 0, private + 0}' $pid/smaps_rollup 2>/dev/null)
  ticks=$(sed 's/.*) //' $pid/stat 2>/dev/null | awk '{print $12 + $13 + $14 + $15}')
  echo "$uid \${program##*/} $memory $ticks"
done
`;
/** USER_HZ: the same on every Linux there is for Intel and AMD. */
const TICKS_PER_SECOND = 100;

/** Processes of pods on a node, without those of the container runtime. @throws Error with the node's words */
export async function processesOn(cluster: Cluster, node: string): Promise<Process[]> {
  const { stdout, stderr } = await cluster.node(node).exec(READ);
  const processes = stdout.split('\n').flatMap((line) => {
    const [podUid, program, pss, own, ticks] = line.trim().split(' ');
    if (podUid === undefined || program === undefined || ticks === undefined) return [];
    const cpuSeconds = Number(ticks) / TICKS_PER_SECOND;
    return [{ podUid, program, pss: Number(pss), private: Number(own), cpuSeconds }];
  });
  if (processes.length === 0) throw new Error(`no processes of pods on ${node}: ${stderr}`);
  return processes;
}

/** Processes of these pods, wherever they run. */
export async function processesOf(cluster: Cluster, pods: readonly Pod[]): Promise<Process[]> {
  const nodes = new Set(pods.map(({ spec }) => spec?.nodeName).filter((node) => node !== undefined));
  const uids = new Set(pods.map(({ metadata }) => metadata.uid));
  const lists = await Promise.all([...nodes].map((node) => processesOn(cluster, node)));
  return lists.flat().filter(({ podUid }) => uids.has(podUid));
}

export const sum = <T>(list: readonly T[], of: (each: T) => number): number =>
  list.reduce((total, each) => total + of(each), 0);
