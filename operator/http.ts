import { createServer, type Server } from 'node:http';

/** What the kubelet and Prometheus ask for. */
export interface HttpHandlers {
  /** Reasons for which the process should be restarted; none: alive. */
  readonly unhealthy: () => readonly string[];
  /** Reasons for which it does not do its work yet; none: ready. */
  readonly unready: () => readonly string[];
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
}

/** Serves `/healthz`, `/readyz` and `/metrics` as plain HTTP; resolves when it listens. */
export function serveHttp(port: number, handlers: HttpHandlers): Promise<Server> {
  const server = createServer((request, response) => {
    const say = (status: number, type: string, body: string) => {
      response.writeHead(status, { 'content-type': type });
      response.end(body);
    };
    const check = (reasons: readonly string[]) =>
      say(
        reasons.length === 0 ? 200 : 503,
        'text/plain',
        reasons.length === 0 ? 'ok\n' : `${reasons.join('\n')}\n`,
      );

    const path = (request.url ?? '').split('?')[0];
    if (request.method !== 'GET') say(405, 'text/plain', 'only GET\n');
    else if (path === '/healthz') check(handlers.unhealthy());
    else if (path === '/readyz') check(handlers.unready());
    else if (path === '/metrics') {
      handlers.metrics().then(
        ({ contentType, body }) => say(200, contentType, body),
        (error: Error) => say(500, 'text/plain', `${error.message}\n`),
      );
    } else say(404, 'text/plain', 'there are /healthz, /readyz and /metrics\n');
  });
  server.headersTimeout = 10_000;
  server.requestTimeout = 10_000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, () => resolve(server));
  });
}
