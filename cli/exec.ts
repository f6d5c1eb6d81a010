/** A program in a launcher's pod, through the API server. */
import type { Readable, Writable } from 'node:stream';
import type { V1Status } from '@kubernetes/client-node';
import { Exec } from '@kubernetes/client-node/dist/exec.js';
import { VmsteadError } from '../crds/errors.ts';
import { pathOf } from '../operator/kube/client.ts';
import { ApiError } from '../operator/kube/errors.ts';
import { pods } from '../operator/kube/resources.ts';
import type { Cluster } from './cluster.ts';
import { CONTAINER } from './pods.ts';

const PING_MS = 15_000;
/** So many pings without an answer, and the connection is dead. */
const LOST_PINGS = 3;

interface Streams {
  stdout: Writable;
  stderr: Writable;
  stdin: Readable;
  /** The program has ended. */
  onStatus: (status: V1Status) => void;
  /** The connection has, which follows the status too. */
  onLost: (message: string) => void;
}

export interface RunningExec extends Disposable {
  /** Takes nothing more from the connection until `resume`: what it holds waits at the other end. */
  pause(): void;
  resume(): void;
}

/** @throws ApiError when the API server refuses the exec (403, 404), VmsteadError `Unreachable` otherwise */
export async function openExec(
  cluster: Cluster,
  pod: string,
  command: readonly string[],
  { stdout, stderr, stdin, onStatus, onLost }: Streams,
): Promise<RunningExec> {
  const socket = await new Exec(cluster.kubeconfig)
    .exec(cluster.namespace, pod, CONTAINER, [...command], stdout, stderr, stdin, false, onStatus)
    .catch((error: unknown) => explainRefusal(cluster, pod, command, error));
  socket.on('close', () => onLost('the connection was closed'));
  socket.on('error', (error: Error) => onLost(error.message));
  let unanswered = 0;
  socket.on('pong', () => {
    unanswered = 0;
  });
  const pings = setInterval(() => {
    // While nothing is read, no answer is heard either.
    if (socket.isPaused) unanswered = 0;
    if (++unanswered > LOST_PINGS) socket.terminate();
    else socket.ping();
  }, PING_MS);
  return {
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    [Symbol.dispose]() {
      clearInterval(pings);
      socket.close();
      setTimeout(() => socket.terminate(), 1000).unref();
    },
  };
}

/** A failed upgrade has no body to read; the same request without the upgrade says why it is refused. */
async function explainRefusal(
  { transport, namespace }: Cluster,
  pod: string,
  command: readonly string[],
  error: unknown,
): Promise<never> {
  const words = command.map((word) => `&command=${encodeURIComponent(word)}`).join('');
  const path = `${pathOf(pods, { namespace, name: pod }, 'exec')}?container=${CONTAINER}&stdin=true&stdout=true${words}`;
  try {
    await transport.request({ method: 'POST', path, verb: 'create', resource: 'pods/exec' });
  } catch (refusal) {
    if (refusal instanceof ApiError && [401, 403, 404].includes(refusal.code)) throw refusal;
  }
  const said = (error as { message?: unknown } | undefined)?.message ?? error;
  throw new VmsteadError('Unreachable', `exec into pod ${pod} failed: ${String(said)}`, { cause: error });
}
