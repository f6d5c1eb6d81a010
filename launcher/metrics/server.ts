/**
 * /metrics on the pod's IP. It is the one thing of ours that listens on a network, so it looks at who asks:
 * QEMU's user network brings the guest's connections from loopback or the pod's own address.
 */
import { createServer, type Server } from 'node:http';
import { networkInterfaces } from 'node:os';
import type { Log } from '../log.ts';
import type { Vm } from '../vm/vm.ts';
import type { VmMetrics } from './registry.ts';

/** IPv4 in IPv6's clothes is IPv4. */
function canonical(address: string): string {
  return address.replace(/^::ffff:(?=[0-9.]+$)/i, '').replace(/%.*$/, '');
}

/** Whether an address is this pod's own, or loopback, and so may be the guest's. */
export function isOwnAddress(address: string, own: readonly string[]): boolean {
  const bare = canonical(address);
  return bare.startsWith('127.') || bare === '::1' || own.some((each) => canonical(each) === bare);
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((each) => each?.map(({ address }) => address) ?? []);
}

export function serveMetrics(vm: Vm, port: number, log: Log): Server {
  let metrics: Promise<VmMetrics> | undefined;
  const server = createServer(async (request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    try {
      // Loaded at the first scrape: a VM that nobody watches does not pay for it.
      metrics ??= import('./registry.ts').then(({ vmMetrics }) => vmMetrics(vm));
      const { contentType, text } = await metrics;
      const body = await text();
      response.writeHead(200, { 'Content-Type': contentType }).end(body);
    } catch (error) {
      log.warn({ err: String(error) }, 'no metrics');
      response.writeHead(500).end();
    }
  });
  server.on('connection', (socket) => {
    if (isOwnAddress(socket.remoteAddress ?? '::1', ownAddresses())) socket.destroy();
  });
  server.on('error', (error) => log.warn({ err: String(error), port }, 'no /metrics'));
  server.maxConnections = 8;
  server.listen(port, '::');
  server.unref();
  return server;
}
