import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { parse } from 'yaml';
import { issueAuthority, issueServer } from '../../../operator/channel/x509.ts';
import type { Connection } from '../../../operator/kube/connection.ts';

/** What a bad network, a proxy or a busy API server does to a request; `undefined` lets it pass. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => 'handled' | undefined;

/** A man in the middle before the real API server, who spoils what a test tells him to. */
export interface FaultyProxy extends AsyncDisposable {
  readonly connection: Connection;
  /** Asked for each request. */
  fault: Fault | undefined;
  /** TCP connections that were opened so far. */
  readonly connections: number;
  /** Watches whose answer has begun and not ended. */
  readonly openWatches: number;
  /** Requests that came so far, `GET /api/v1/...`. */
  readonly requests: readonly string[];
  /** Cuts all connections, and refuses new ones until `resume`. */
  outage(): void;
  resume(): void;
  /** Writes into the answers of all watches that are open. */
  intoWatches(text: string): void;
  /** Lets no more bytes of watches through, without closing anything: a half-open connection. */
  silenceWatches(): void;
}

/** Reads what is needed to reach the API server as the kubeconfig's user. */
function credentialsOf(kubeconfigPath: string) {
  const config = parse(readFileSync(kubeconfigPath, 'utf8'));
  const decode = (text: string) => Buffer.from(text, 'base64');
  const user = config.users[0].user;
  return {
    url: config.clusters[0].cluster.server as string,
    ca: decode(config.clusters[0].cluster['certificate-authority-data']),
    cert: decode(user['client-certificate-data']),
    key: decode(user['client-key-data']),
  };
}

export async function startFaultyProxy(kubeconfigPath: string): Promise<FaultyProxy> {
  const { url, ca, cert, key } = credentialsOf(kubeconfigPath);
  const validity = { notBefore: new Date(Date.now() - 1000), notAfter: new Date(Date.now() + 3_600_000) };
  const authority = issueAuthority('faulty-proxy', validity);
  const server = issueServer(authority, ['localhost'], validity);
  const upstream = new Agent({ keepAlive: true, ca, cert, key });
  const sockets = new Set<Socket>();
  const watches = new Set<ServerResponse>();
  let down = false;
  let connections = 0;
  const requests: string[] = [];

  const proxy = createServer({ cert: server.certificate, key: server.key });
  proxy.on('connection', (socket: Socket) => {
    if (down) {
      socket.resetAndDestroy();
      return;
    }
    connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  proxy.on('tlsClientError', () => {});
  proxy.on('request', (incoming, response) => {
    requests.push(`${incoming.method} ${incoming.url}`);
    if (handle.fault?.(incoming, response) === 'handled') return;
    const { host: _, ...headers } = incoming.headers;
    const target = new URL(incoming.url!, url);
    const outgoing = request(target, { agent: upstream, method: incoming.method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      response.flushHeaders();
      const isWatch = incoming.url!.includes('watch=1');
      if (isWatch) watches.add(response);
      answer.on('data', (chunk) => {
        if (!isWatch || watches.has(response)) response.write(chunk);
      });
      answer.on('end', () => response.end());
      answer.on('error', () => response.destroy());
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => {
      watches.delete(response);
      outgoing.destroy();
    });
    incoming.pipe(outgoing);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));

  const handle: FaultyProxy = {
    connection: {
      url: `https://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      ca: authority.certificate,
      serverName: 'localhost',
    },
    fault: undefined,
    get connections() {
      return connections;
    },
    get openWatches() {
      return watches.size;
    },
    requests,
    outage() {
      down = true;
      for (const socket of sockets) socket.resetAndDestroy();
    },
    resume() {
      down = false;
    },
    intoWatches(text) {
      for (const response of watches) response.write(text);
    },
    silenceWatches() {
      watches.clear();
    },
    async [Symbol.asyncDispose]() {
      handle.outage();
      upstream.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
  return handle;
}
