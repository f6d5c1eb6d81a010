/** One session with a guest's console: a helper in the launcher pod, reached by exec. */
import { PassThrough } from 'node:stream';
import type { V1Status } from '@kubernetes/client-node';
import type { Cluster } from '../cluster.ts';
import { openExec } from '../exec.ts';
import { splitAtLeave } from './keys.ts';
import { takeTerminal } from './terminal.ts';

const COMMAND = ['/usr/lib/vmstead/console'];

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
  using _exec = await openExec(cluster, pod, COMMAND, {
    stdout: process.stdout,
    stderr,
    stdin: input,
    onStatus,
    onLost: (message) => end({ by: 'failure', message }),
  });

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
    process.stdin.off('data', onTyped).off('end', onEof).pause();
  }
}
