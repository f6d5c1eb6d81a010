import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { CHANNEL_PATH, CHANNEL_PROTOCOL } from '../../crds/channel.ts';
import type { KubeClient } from '../kube/client.ts';
import type { ChannelCertificate } from './certificate.ts';
import type { Exporters } from './exporters.ts';
import { type Authorization, type Authorize, claimedPod, reviewToken } from './identity.ts';
import type { MoverRegistry } from './movers.ts';
import type { LauncherRegistry } from './registry.ts';
import { TokenBucket } from './token-bucket.ts';

/** More launchers than one operator is meant for; a bound, not a goal. */
const MAX_CONNECTIONS = 10_000;
/** Token reviews under way at once; launchers beyond that are asked to come again. */
const MAX_REVIEWS = 32;
/** New connections a second, and at once after a restart of the operator. */
const UPGRADES_PER_SECOND = 200;
const UPGRADES_BURST = 500;
const HANDSHAKE_MS = 10_000;

export interface ChannelServerOptions {
  readonly client: KubeClient;
  readonly certificate: ChannelCertificate;
  readonly registry: LauncherRegistry;
  readonly movers: MoverRegistry;
  readonly exporters: Exporters;
  readonly authorize: Authorize;
  /** Whether this operator leads and knows the cluster; launchers are asked to come again otherwise. */
  readonly ready: () => boolean;
  readonly log: Logger;
}

/** An answer to a request for a channel that does not become one. */
interface Refusal {
  readonly status: 401 | 403 | 404 | 410 | 426 | 503;
  readonly code:
    | 'Unauthorized'
    | 'NotALauncher'
    | 'NotFound'
    | 'Disowned'
    | 'UpgradeRequired'
    | 'Unavailable';
  readonly message: string;
}

/** A pod that may speak with us. */
type Ours = Extract<Authorization, { launcher: unknown } | { mover: unknown } | { attachment: unknown }>;

const REASON = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  410: 'Gone',
  426: 'Upgrade Required',
  503: 'Service Unavailable',
} as const;

/** The HTTPS server that launchers dial. */
export class ChannelServer {
  readonly #options: ChannelServerOptions;
  readonly #server: Server;
  readonly #rate = new TokenBucket(UPGRADES_PER_SECOND, UPGRADES_BURST);
  #reviews = 0;

  constructor(options: ChannelServerOptions) {
    this.#options = options;
    const { certificate, key } = options.certificate;
    this.#server = createServer({
      cert: certificate,
      key,
      minVersion: 'TLSv1.3',
      handshakeTimeout: HANDSHAKE_MS,
      headersTimeout: HANDSHAKE_MS,
      requestTimeout: HANDSHAKE_MS,
      maxHeaderSize: 16 * 1024,
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head));
    this.#server.on('request', (request, response) => answer(response, this.#plain(request)));
    this.#server.on('tlsClientError', (error) => options.log.debug({ err: error }, 'channel: TLS failed'));
  }

  /** Listens, and gives the port. */
  listen(port: number, host?: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) => this.#options.log.error({ err: error }, 'channel: server error'));
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** New connections get the new certificate; those that stand are not touched. */
  renew({ certificate, key }: ChannelCertificate): void {
    this.#server.setSecureContext({ cert: certificate, key, minVersion: 'TLSv1.3' });
  }

  /** Stops listening and hangs up on all launchers. */
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#options.registry.closeAll('the operator stops');
    this.#options.movers.closeAll('the operator stops');
    this.#options.exporters.closeAll('the operator stops');
  }

  #plain(request: IncomingMessage): Refusal {
    if (pathOf(request) !== CHANNEL_PATH) return { status: 404, code: 'NotFound', message: 'no such path' };
    const message = `this is the channel of launchers: ask for Upgrade: ${CHANNEL_PROTOCOL}`;
    return { status: 426, code: 'UpgradeRequired', message };
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    let gone = false;
    socket.on('error', () => {
      gone = true;
    });
    socket.on('close', () => {
      gone = true;
    });
    const verdict = await this.#judge(request);
    if (gone) return;
    if ('status' in verdict) {
      const { status, ...body } = verdict;
      this.#options.log.info({ status, remote: request.socket.remoteAddress, ...body }, 'channel: refused');
      refuse(socket, verdict);
      return;
    }
    (socket as Socket).setKeepAlive(true, 15_000);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${CHANNEL_PROTOCOL}\r\n\r\n`,
    );
    // Back into the stream what came with the request, so that the registry reads all of it.
    if (head.length > 0) socket.unshift(head);
    if ('launcher' in verdict) this.#options.registry.accept(verdict.launcher, socket);
    else if ('mover' in verdict) this.#options.movers.accept(verdict.mover, socket);
    else this.#options.exporters.accept(verdict.attachment, socket);
  }

  async #judge(request: IncomingMessage): Promise<Refusal | Ours> {
    const wanted = request.headers.upgrade?.toLowerCase();
    if (pathOf(request) !== CHANNEL_PATH || wanted !== CHANNEL_PROTOCOL) return this.#plain(request);
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) return { status: 401, code: 'Unauthorized', message: 'no bearer token' };
    if (!this.#options.ready()) return unavailable('this operator does not lead');
    if (this.#rate.take() > 0 || this.#reviews >= MAX_REVIEWS)
      return unavailable('too many launchers at once');
    this.#reviews++;
    try {
      return await this.#identify(token);
    } catch (error) {
      this.#options.log.warn(
        { err: error },
        'channel: a launcher could not be identified; it will come again',
      );
      return unavailable('the API server could not be asked');
    } finally {
      this.#reviews--;
    }
  }

  async #identify(token: string): Promise<Refusal | Ours> {
    const { client, authorize } = this.#options;
    const verdict = await reviewToken(client, token);
    if ('refused' in verdict) {
      const claimed = claimedPod(token);
      const authorization = claimed && (await authorize(claimed));
      if (authorization && 'gone' in authorization) return disowned(authorization.gone);
      return { status: 401, code: 'Unauthorized', message: verdict.refused };
    }
    const authorization = await authorize(verdict.pod);
    if ('gone' in authorization) return disowned(authorization.gone);
    if ('stranger' in authorization) {
      return { status: 403, code: 'NotALauncher', message: authorization.stranger };
    }
    return authorization;
  }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?')[0]!;
}

function unavailable(message: string): Refusal {
  return { status: 503, code: 'Unavailable', message };
}

function disowned(message: string): Refusal {
  return { status: 410, code: 'Disowned', message };
}

function bodyOf({ code, message }: Refusal): string {
  return JSON.stringify({ code, message });
}

function answer(response: ServerResponse, refusal: Refusal): void {
  response.writeHead(refusal.status, { 'content-type': 'application/json', connection: 'close' });
  response.end(bodyOf(refusal));
}

function refuse(socket: Duplex, refusal: Refusal): void {
  const body = bodyOf(refusal);
  const head = [
    `HTTP/1.1 ${refusal.status} ${REASON[refusal.status]}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(refusal.status === 503 ? ['Retry-After: 1'] : []),
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  setTimeout(() => socket.destroy(), 5_000).unref();
}
