/** One session with a guest's console: a helper in the launcher pod, reached by exec. */
import { PassThrough } from 'node:stream';
import type { V1Status } from '@kubernetes/client-node';
import { Exec } from '@kubernetes/client-node/dist/exec.js';
import { VmsteadError } from '../../crds/errors.ts';
import { pathOf } from '../../operator/kube/client.ts';
import { ApiError } from '../../operator/kube/errors.ts';
import { pods } from '../../operator/kube/resources.ts';
import type { Cluster } from '../cluster.ts';
import { CONTAINER } from '../pods.ts';
import { splitAtLeave } from './keys.ts';
import { takeTerminal } from './terminal.ts';

const COMMAND = ['/usr/lib/vmstead/console'];
const PING_MS = 15_000;
/** So many pings without an answer, and the connection is dead. */
const LOST_PINGS = 3;

/** How a session ended. */
export type Ending =
  | { readonly by: 'person' }
  | { readonly by: 'guest' }
  | { readonly by: 'failure'; readonly message: string };

/**
 * Joins this terminal and the console until the person leaves or the helper ends.
 *
 * @param onOpen called once the connection stands
 * @throws ApiError when the API server refuses the exec (403, 404), VmsteadError `Unreachable` otherwise
 */
export async function session(cluster: Cluster, pod: string, onOpen: () => void): Promise<Ending> {
  const input = new PassThrough();
  const complaints: Buffer[] = [];
  const stderr = new PassThrough().on('data', (chunk: Buffer) => complaints.push(chunk));
  const { promise: ended, resolve: end } = Promise.withResolvers<Ending>();
  let inputEnded = false;
  const onStatus = (status: V1Status): void => {
    if (status.status === 'Success') end({ by: inputEnded ? 'person' : 'guest' });
    else
      end({ by: 'failure', message: Buffer.concat(complaints).toString().trim() || (status.message ?? '') });
  };
  const exec = new Exec(cluster.kubeconfig);
  const socket = await exec
    .exec(cluster.namespace, pod, CONTAINER, COMMAND, process.stdout, stderr, input, false, onStatus)
    .catch((error: unknown) => explainRefusal(cluster, pod, error));
  socket.on('close', () => end({ by: 'failure', message: 'the connection was closed' }));
  socket.on('error', (error: Error) => end({ by: 'failure', message: error.message }));

  let unanswered = 0;
  socket.on('pong', () => {
    unanswered = 0;
  });
  const pings = setInterval(() => {
    if (++unanswered > LOST_PINGS) socket.terminate();
    else socket.ping();
  }, PING_MS);

  const onTyped = (typed: Buffer): void => {
    const { send, leave } = splitAtLeave(typed);
    if (send.length > 0) input.write(send);
    if (leave) end({ by: 'person' });
  };
  const onEof = (): void => {
    inputEnded = true;
    input.end();
  };
  using _terminal = takeTerminal();
  onOpen();
  process.stdin.on('data', onTyped).once('end', onEof).resume();
  try {
    return await ended;
  } finally {
    clearInterval(pings);
    process.stdin.off('data', onTyped).off('end', onEof).pause();
    socket.close();
    setTimeout(() => socket.terminate(), 1000).unref();
  }
}

/** A failed upgrade has no body to read; the same request without the upgrade says why it is refused. */
async function explainRefusal(
  { transport, namespace }: Cluster,
  pod: string,
  error: unknown,
): Promise<never> {
  const path = `${pathOf(pods, { namespace, name: pod }, 'exec')}?container=${CONTAINER}&stdin=true&stdout=true&command=${encodeURIComponent(COMMAND[0]!)}`;
  try {
    await transport.request({ method: 'POST', path, verb: 'create', resource: 'pods/exec' });
  } catch (refusal) {
    if (refusal instanceof ApiError && [401, 403, 404].includes(refusal.code)) throw refusal;
  }
  const said = (error as { message?: unknown } | undefined)?.message ?? error;
  throw new VmsteadError('Unreachable', `exec into pod ${pod} failed: ${String(said)}`, { cause: error });
}
