/** One request to one URL: over the checked addresses or a proxy, up to the head of the answer. */
import type { LookupAddress } from 'node:dns';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { MoverFailure } from '../failure.ts';
import { type AddressGuard, fixedLookup } from './addresses.ts';

export interface Route {
  guard: AddressGuard;
  /** http://host:port */
  proxy?: { url: URL; guard: AddressGuard; headers: Record<string, string> };
  /** PEM, besides the usual authorities. */
  authorities?: string[];
  /** Milliseconds from the start to the head of the answer. */
  headTimeout: number;
  signal: AbortSignal;
}

/** Rejects with a MoverFailure for what is decided, with anything else for what may be tried again. */
export async function exchange(
  url: URL,
  headers: Record<string, string>,
  route: Route,
): Promise<IncomingMessage> {
  const { signal, headTimeout } = route;
  const limit = AbortSignal.timeout(headTimeout);
  const both = AbortSignal.any([signal, limit]);
  try {
    const socket = route.proxy && (await throughProxy(url, route.proxy, both));
    const addresses = socket ? [] : await reachable(url, route.guard);
    return await send(url, headers, route, both, addresses, socket);
  } catch (error) {
    if (limit.aborted && !signal.aborted)
      throw new Error(`${url.host} gave no answer within ${headTimeout / 1000} s`);
    throw error;
  }
}

async function reachable(url: URL, guard: AddressGuard): Promise<LookupAddress[]> {
  const addresses = await guard.allowed(url.hostname);
  if (addresses.length === 0) throw new Error(`${url.hostname} has no address`);
  return addresses;
}

function send(
  url: URL,
  headers: Record<string, string>,
  { authorities }: Route,
  signal: AbortSignal,
  addresses: readonly LookupAddress[],
  socket: Socket | undefined,
): Promise<IncomingMessage> {
  const secure = url.protocol === 'https:';
  const trust = authorities === undefined ? {} : { ca: authorities };
  const options = {
    headers: { 'Accept-Encoding': 'identity', 'User-Agent': 'vmstead', ...headers, Connection: 'close' },
    // A literal address is not looked up: it has been checked as it is.
    lookup: fixedLookup(addresses),
    ...trust,
    // With an agent, Node would not use the connection.
    ...(socket === undefined
      ? { agent: false as const }
      : { createConnection: () => tunnel(url, socket, trust) }),
  };
  return new Promise((resolve, reject) => {
    const call = secure ? httpsRequest(url, options) : httpRequest(url, options);
    const abort = () => call.destroy(new Error('aborted'));
    signal.addEventListener('abort', abort, { once: true });
    call.once('response', (response) => {
      signal.removeEventListener('abort', abort);
      // Errors after this one come out of the response.
      call.on('error', () => {});
      resolve(response);
    });
    call.once('error', (error) => {
      signal.removeEventListener('abort', abort);
      reject(certificateFailure(url, error) ?? error);
    });
    call.end();
  });
}

function tunnel(url: URL, socket: Socket, trust: { ca?: string[] }): Socket {
  if (url.protocol === 'http:') return socket;
  return tlsConnect({ socket, servername: url.hostname, ALPNProtocols: ['http/1.1'], ...trust });
}

const CERTIFICATE = /^(CERT_|ERR_TLS_CERT|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH)/;

function certificateFailure(url: URL, error: NodeJS.ErrnoException): MoverFailure | undefined {
  if (!CERTIFICATE.test(error.code ?? '')) return undefined;
  return new MoverFailure(
    'SourceRefused',
    `the certificate of ${url.host} is not trusted: ${error.message}; name its CA in caConfigMapRef`,
    { cause: error },
  );
}

async function throughProxy(
  url: URL,
  { url: proxy, guard, headers }: NonNullable<Route['proxy']>,
  signal: AbortSignal,
): Promise<Socket> {
  const addresses = await reachable(proxy, guard);
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const authority = `${url.hostname}:${port}`;
  return await new Promise<Socket>((resolve, reject) => {
    const call: ClientRequest = httpRequest({
      agent: false,
      host: proxy.hostname,
      port: proxy.port || 80,
      lookup: fixedLookup(addresses),
      method: 'CONNECT',
      path: authority,
      headers: { Host: authority, ...headers },
    });
    const abort = () => call.destroy(new Error('aborted'));
    signal.addEventListener('abort', abort, { once: true });
    call.once('connect', (answer, socket) => {
      signal.removeEventListener('abort', abort);
      if (answer.statusCode === 200) resolve(socket as Socket);
      else {
        socket.destroy();
        reject(refusedByProxy(proxy, authority, answer.statusCode ?? 0));
      }
    });
    call.once('response', (answer) => {
      answer.destroy();
      reject(refusedByProxy(proxy, authority, answer.statusCode ?? 0));
    });
    call.once('error', (error) => reject(new Error(`proxy ${proxy.host}: ${error.message}`)));
    call.end();
  });
}

function refusedByProxy(proxy: URL, authority: string, status: number): Error {
  const message = `the proxy ${proxy.host} refused a connection to ${authority} with ${status}`;
  return status >= 400 && status < 500 ? new MoverFailure('SourceRefused', message) : new Error(message);
}
