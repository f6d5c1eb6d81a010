/** A port of a pod's own 127.0.0.1 on this machine's, through the API server. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { PortForward } from '@kubernetes/client-node/dist/portforward.js';
import type { Cluster } from '../cluster.ts';

interface Forward extends AsyncDisposable {
  /** On 127.0.0.1 of this machine. */
  readonly port: number;
}

/** Each connection to the port is one through the API server; one that is refused there is closed. */
export async function openForward(
  { kubeconfig, namespace }: Cluster,
  pod: string,
  target: number,
): Promise<Forward> {
  const forward = new PortForward(kubeconfig, true);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    forward.portForward(namespace, pod, [target], socket, null, socket).then(
      (web) => {
        const opened = typeof web === 'function' ? web() : web;
        opened?.on('close', () => socket.destroy());
        opened?.on('error', () => socket.destroy());
        socket.on('close', () => opened?.close());
      },
      () => socket.destroy(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close').catch(() => {});
    },
  };
}
