/** A web server on loopback that serves one file, well or badly. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface WebServer extends AsyncDisposable {
  url: string;
  /** Every request that came, in order. */
  requests: IncomingMessage[];
}

export async function webServer(
  listener: RequestListener,
  secure?: { key: string; certificate: string },
  host = '127.0.0.1',
): Promise<WebServer> {
  const requests: IncomingMessage[] = [];
  const counted: RequestListener = (request, response) => {
    requests.push(request);
    response.on('error', () => {});
    listener(request, response);
  };
  const server = secure
    ? createSecureServer({ key: secure.key, cert: secure.certificate }, counted)
    : createServer(counted);
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `${secure ? 'https' : 'http'}://${secure ? 'localhost' : host}:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close').catch(() => {});
    },
  };
}

export interface Serving {
  content: Buffer;
  etag?: string | undefined;
  lastModified?: string;
  ranges?: boolean;
  /** Connections that are cut, after so many bytes each. */
  cuts?: number[];
  /** In place of the true one; null: none, chunked. */
  contentLength?: number | null;
}

/** Serves `serving` as it is at the time of each request. */
export function serve(serving: Serving): RequestListener {
  const cuts = [...(serving.cuts ?? [])];
  return (request, response) => {
    const { content, etag = tagOf(content), lastModified, ranges = true, contentLength } = serving;
    const headers: Record<string, string | number> = {};
    if (etag !== '') headers.ETag = etag;
    if (lastModified !== undefined) headers['Last-Modified'] = lastModified;
    const from = ranges ? rangeOf(request, [etag, lastModified]) : 0;
    if (from > 0 && from >= content.length) {
      response.writeHead(416, { 'Content-Range': `bytes */${content.length}` }).end();
      return;
    }
    const body = content.subarray(from);
    if (from > 0) headers['Content-Range'] = `bytes ${from}-${content.length - 1}/${content.length}`;
    if (contentLength !== null) headers['Content-Length'] = (contentLength ?? content.length) - from;
    response.writeHead(from > 0 ? 206 : 200, headers);
    send(
      response,
      body,
      cuts.shift() ?? (contentLength === undefined || contentLength === null ? undefined : body.length),
    );
  };
}

/** @param cut the connection breaks off after so many bytes */
function send(response: ServerResponse, body: Buffer, cut: number | undefined): void {
  if (cut === undefined) response.end(body);
  else response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
}

function rangeOf(request: IncomingMessage, validators: (string | undefined)[]): number {
  const match = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const condition = request.headers['if-range'];
  if (match === null || (condition !== undefined && !validators.includes(condition as string))) return 0;
  return Number(match[1]);
}

export function tagOf(content: Buffer): string {
  return `"${createHash('sha256').update(content).digest('hex').slice(0, 16)}"`;
}

export function sha(content: Buffer, algorithm = 'sha256'): string {
  return createHash(algorithm).update(content).digest('hex');
}
