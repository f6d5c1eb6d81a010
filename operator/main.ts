import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { configFrom, OPERATOR_NAME } from './config.ts';
import { serveHttp } from './http.ts';
import { createClient } from './kube/client.ts';
import { ClusterClock } from './kube/cluster-clock.ts';
import { connectionFromEnvironment } from './kube/environment.ts';
import { elect, type Leadership } from './kube/leader.ts';
import { createTransport } from './kube/transport.ts';
import { createLogger } from './log.ts';
import { OperatorMetrics } from './metrics.ts';
import { leadersClient, type Standby } from './standby.ts';

/** Time for work under way after SIGTERM; the lease is released after it. */
const GRACE_MS = 8_000;

async function main(): Promise<number> {
  const config = configFrom(process.env);
  const log = createLogger(config.logLevel);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => {
      log.info({ signal: name }, 'stopping');
      stop.abort();
    });
  }

  const metrics = new OperatorMetrics();
  const connection = await connectionFromEnvironment();
  const clock = new ClusterClock();
  const now = () => new Date(clock.now());
  const transport = createTransport(connection, {
    userAgent: `${OPERATOR_NAME}/${config.version}`,
    metrics,
    clock,
  });
  let leadership: Leadership | undefined;
  let leaderReady = false;
  const http = await serveHttp(config.httpPort, {
    unhealthy: () => [],
    // A standby is ready: it waits for its turn, and rolling updates must not wait for that.
    unready: () => (leadership !== undefined && !leaderReady ? ['leader: caches are not full yet'] : []),
    metrics: async () => ({
      contentType: metrics.registry.contentType,
      body: await metrics.registry.metrics(),
    }),
  });
  log.info({ version: config.version, apiServer: connection.url }, 'operator started; waiting to lead');

  leadership = await elect(
    {
      client: createClient(transport),
      lease: { namespace: config.podNamespace, name: OPERATOR_NAME },
      // A container that was restarted in the same pod is another process.
      identity: `${config.podName}_${randomUUID()}`,
      log,
      now,
    },
    stop.signal,
  );
  let code = 0;
  if (leadership !== undefined) {
    const held = leadership;
    metrics.leads();
    const { lead } = await import('./leader.ts');
    const standby: Standby = {
      config,
      client: leadersClient(transport, held),
      metrics,
      log,
      now,
      leading: () => {
        leaderReady = true;
      },
    };
    const work = lead(standby, stop.signal);
    const lost = held.lost.then((reason) => {
      // At once, whatever is under way: another replica may have begun.
      log.fatal({ reason }, 'leadership lost; exiting');
      process.exit(1);
    });
    await Promise.race([work, lost, graceAfter(stop.signal)]);
    await held.release();
  }
  if (!stop.signal.aborted) {
    log.fatal('the leader’s work ended by itself; exiting');
    code = 1;
  }
  http.close();
  transport.close();
  log.info('stopped');
  return code;
}

async function graceAfter(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
  await new Promise((resolve) => setTimeout(resolve, GRACE_MS));
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${JSON.stringify({ level: 'fatal', message: String(error) })}\n`);
    process.exit(1);
  },
);
