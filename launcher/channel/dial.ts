/** One attempt to reach the operator: HTTPS, upgraded to lines of JSON. */
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import type { Socket } from 'node:net';
import { CHANNEL_PATH, CHANNEL_PROTOCOL } from '../../crds/channel.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';

type Channel = NonNullable<MachineDescription['channel']>;

const TIMEOUT = 10_000;
const GONE = 410;

export type Dialled = { socket: Socket } | { disowned: string } | { failed: string };

/** Rejects never: whatever goes wrong is a reason to try again, except the operator's own "gone". */
export async function dial(channel: Channel, address: string, tokenPath: string): Promise<Dialled> {
  const colon = address.lastIndexOf(':');
  try {
    // Read each time: the kubelet renews it.
    const token = readFileSync(tokenPath, 'utf8').trim();
    return await new Promise<Dialled>((resolve) => {
      const call = request({
        host: address.slice(0, colon),
        port: Number(address.slice(colon + 1)),
        path: CHANNEL_PATH,
        servername: channel.serverName,
        ca: channel.caCertificate,
        agent: false,
        timeout: TIMEOUT,
        headers: { Connection: 'Upgrade', Upgrade: CHANNEL_PROTOCOL, Authorization: `Bearer ${token}` },
      });
      call.on('upgrade', (_response, socket, head) => {
        socket.setTimeout(0);
        if (head.length > 0) socket.unshift(head);
        resolve({ socket: socket as Socket });
      });
      call.on('response', (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          if (body.length < 1024) body += chunk;
        });
        response.on('error', () => {});
        response.on('close', () => {
          const reason = body.slice(0, 1024).trim();
          resolve(
            response.statusCode === GONE
              ? { disowned: reason }
              : { failed: `the operator at ${address} answered ${response.statusCode} ${reason}`.trim() },
          );
        });
      });
      call.on('timeout', () => call.destroy(new Error(`no answer within ${TIMEOUT} ms`)));
      call.on('error', (error) =>
        resolve({ failed: `cannot reach the operator at ${address}: ${error.message}` }),
      );
      call.end();
    });
  } catch (error) {
    return { failed: `cannot reach the operator at ${address}: ${(error as Error).message}` };
  }
}
