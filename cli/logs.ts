import { setTimeout as sleep } from 'node:timers/promises';
import { VmsteadError } from '../crds/errors.ts';
import { pathOf } from '../operator/kube/client.ts';
import { type Pod, pods } from '../operator/kube/resources.ts';
import type { StoredVirtualMachine } from '../operator/virtual-machine/resources.ts';
import { type Cluster, connect, getVm } from './cluster.ts';
import type { Invocation } from './invocation.ts';
import { CONTAINER, containerState, incarnationOf, launcherPods } from './pods.ts';
import { HarmlessStream } from './terminal-text.ts';
import { vmName } from './values.ts';

const POLL_MS = 1000;

/** The launcher's own log lines: they share the container's log with the guest's, which never begin so. */
export function isGuestLine(line: string): boolean {
  return !line.startsWith('{"level":');
}

/** What the guest wrote to its serial port, from the log of its pod. */
export async function logs({ options, names: [given = ''], io }: Invocation): Promise<void> {
  const name = vmName(given);
  const tail = options.tail === undefined ? undefined : lineCount(options.tail);
  const cluster = await connect(options);
  const vm = await getVm(cluster, name);
  const pod = options.previous
    ? await previousPod(cluster, vm)
    : await currentPod(cluster, vm, options.follow ?? false, (line) => io.note(line));
  const show = (text: string): void => {
    // The text was made harmless line by line; print() would only add a newline.
    if (text !== '') process.stdout.write(text);
  };
  const tailLines = tail === undefined ? undefined : await linesForTail(cluster, pod.metadata.name, tail);
  if (tailLines === 0 && !options.follow) return;
  const stream = new HarmlessStream(isGuestLine);
  const follow = options.follow === true && containerState(pod) !== 'ended';
  for await (const chunk of await openLog(cluster, pod.metadata.name, { follow, tailLines })) {
    show(stream.push(chunk));
  }
  show(stream.end());
  if (options.follow) io.note(`${name}: run ${incarnationOf(pod)} has ended`);
}

function lineCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) {
    throw new VmsteadError('Usage', `--tail ${text} is no number of lines; see kubectl vm help logs`);
  }
  return Number(text);
}

interface LogOptions {
  readonly follow: boolean;
  readonly tailLines?: number | undefined;
}

async function openLog({ transport, namespace }: Cluster, name: string, { follow, tailLines }: LogOptions) {
  const query = [
    `container=${CONTAINER}`,
    ...(follow ? ['follow=true'] : []),
    ...(tailLines === undefined ? [] : [`tailLines=${tailLines}`]),
  ].join('&');
  const path = `${pathOf(pods, { namespace, name }, 'log')}?${query}`;
  return await transport.stream({ method: 'GET', path, verb: 'get', resource: 'pods/log' });
}

/** How many of the pod's last log lines hold the guest's last `wanted` ones: the launcher's are between them. */
async function linesForTail(cluster: Cluster, pod: string, wanted: number): Promise<number> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of await openLog(cluster, pod, { follow: false })) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
  }
  return lastLines(text, wanted);
}

/** Lines from the end of `text` that hold its last `wanted` guest lines. */
export function lastLines(text: string, wanted: number): number {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  let found = 0;
  let count = 0;
  for (let index = lines.length - 1; index >= 0 && found < wanted; index--) {
    count++;
    if (isGuestLine(lines[index]!)) found++;
  }
  return count;
}

/** The newest pod whose container was started; waited for when following. */
async function currentPod(
  cluster: Cluster,
  vm: StoredVirtualMachine,
  wait: boolean,
  note: (line: string) => void,
): Promise<Pod> {
  for (let said = false; ; said = true) {
    const list = await launcherPods(cluster, vm);
    const pod = list.find((each) => containerState(each) !== 'waiting');
    if (pod !== undefined && (pod === list[0] || !wait)) return pod;
    if (!wait) throw notRunning(vm, list);
    if (!said) note(`${vm.metadata.name} does not run yet (${stateOf(vm)}); waiting, Ctrl-C ends it`);
    await sleep(POLL_MS);
  }
}

/** The pod of the last run that ended, which may be the newest. @param list newest life first */
export function previousOf(list: readonly Pod[]): Pod | undefined {
  return list.find((each) => containerState(each) === 'ended');
}

async function previousPod(cluster: Cluster, vm: StoredVirtualMachine): Promise<Pod> {
  const pod = previousOf(await launcherPods(cluster, vm));
  if (pod !== undefined) return pod;
  const last = vm.status?.lastRun;
  const ended = last === undefined ? '' : `; its last run ended with ${last.result}: ${last.message}`;
  throw new VmsteadError('VmNotRunning', `no pod of an earlier run of ${vm.metadata.name} is kept${ended}`);
}

function notRunning(vm: StoredVirtualMachine, list: readonly Pod[]): VmsteadError {
  const { name } = vm.metadata;
  const why = list.length === 0 ? 'it has no pod' : `pod ${list[0]!.metadata.name} has not started yet`;
  return new VmsteadError(
    'VmNotRunning',
    `${name} has no logs: ${why} (${stateOf(vm)}); kubectl vm describe ${name} says more, -f waits`,
  );
}

function stateOf(vm: StoredVirtualMachine): string {
  const ready = vm.status?.conditions?.find((condition) => condition.type === 'Ready');
  const phase = vm.status?.phase ?? 'not seen by the operator yet';
  return ready?.message ? `${phase}: ${ready.message}` : phase;
}
